"""Batch normalisation over the global batch, and in one fused kernel where one device holds it."""

import contextlib
import contextvars

import keras
import tensorflow as tf

from cl_keras import distribute

FUSED_DTYPES = ("float32", "float16", "bfloat16")

_SEEN = contextvars.ContextVar("seen", default=None)
"""Within `in_parts`, the statistics of each layer's calls so far: layer to a list of pairs."""


@contextlib.contextmanager
def in_parts():
    """Within it, every call takes the statistics of what it is given, on its replica alone.

    The moving statistics move at the end, once, by the mean over all calls on all replicas; so they
    do not depend on how the parts of a batch are spread over replicas.
    """
    seen = {}
    token = _SEEN.set(seen)
    try:
        yield
    finally:
        _SEEN.reset(token)
    if seen:
        _move_by_mean(seen)


def _move_by_mean(seen):
    layers = list(seen)
    own = [tf.reduce_mean(tf.stack(seen[layer]), axis=0) for layer in layers]
    # One exchange for all; a sum of what was gathered has one order on every replica.
    means = tf.reduce_mean(distribute.gather(tf.concat(own, axis=1)[tf.newaxis]), axis=0)
    widths = [pair.shape[1] for pair in own]
    for layer, pair in zip(layers, tf.split(means, widths, axis=1), strict=True):
        layer.move(pair[0], pair[1])


@keras.saving.register_keras_serializable("cl_keras")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` with the defaults of ResNets, synchronised and fast.

    The statistics are those of the global batch, so N replicas equal one. On one replica, images
    take TensorFlow's fused kernel; the numbers are the same. How much it saves depends on the
    machine: BUILD.md has figures.

    Args:
        momentum: weight of the old moving statistics.
        epsilon: added to the variance.
        synchronized: take the statistics over all replicas.
        **kwargs: as for `keras.layers.BatchNormalization`.
    """

    def __init__(self, *, momentum=0.9, epsilon=1e-5, synchronized=True, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, synchronized=synchronized, **kwargs)

    def call(self, inputs, training=None, mask=None):
        training = bool(training) and self.trainable
        if self._can_fuse(inputs, mask, training):
            y, mean, variance = self._fused(inputs, training)
        elif training and _SEEN.get() is not None and mask is None:
            y, mean, variance = self._of_this_replica(inputs)
        else:
            return super().call(inputs, training=training, mask=mask)
        if training and _SEEN.get() is not None:
            pair = tf.cast(tf.stack([mean, variance]), self.moving_mean.dtype)
            _SEEN.get().setdefault(self, []).append(pair)
        elif training:
            self.move(mean, variance)
        return y

    def move(self, mean, variance):
        """Moves the moving statistics towards those of a batch, `[C]` each."""
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            batch = tf.cast(batch, moving.dtype)
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))

    def _can_fuse(self, inputs, mask, training):
        alone = distribute.num_replicas() == 1 or (training and _SEEN.get() is not None)
        return (
            mask is None
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.compute_dtype in FUSED_DTYPES
            and alone
        )

    def _fused(self, inputs, training):
        """Output, mean and variance by TensorFlow's kernel."""
        channels = inputs.shape[-1]
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.cast(self.gamma, tf.float32) if self.scale else tf.ones([channels]),
            offset=tf.cast(self.beta, tf.float32) if self.center else tf.zeros([channels]),
            mean=[] if training else tf.cast(self.moving_mean, tf.float32),
            variance=[] if training else tf.cast(self.moving_variance, tf.float32),
            epsilon=self.epsilon,
            is_training=training,
        )
        # The kernel hands out the unbiased variance; Keras keeps the biased one.
        count = tf.cast(tf.size(inputs) // channels, tf.float32)
        return y, mean, variance * (count - 1.0) / count

    def _of_this_replica(self, inputs):
        """As `_fused` in training, for any shape and type."""
        wide = keras.ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        rank = len(inputs.shape)
        axes = [axis for axis in range(rank) if axis != self.axis % rank]
        mean, variance = keras.ops.moments(wide, axes)
        y = keras.ops.batch_normalization(
            wide,
            mean,
            variance,
            axis=self.axis,
            offset=keras.ops.cast(self.beta, wide.dtype) if self.center else None,
            scale=keras.ops.cast(self.gamma, wide.dtype) if self.scale else None,
            epsilon=self.epsilon,
        )
        return keras.ops.cast(y, self.compute_dtype), mean, variance
