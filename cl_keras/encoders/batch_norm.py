"""Batch normalisation over the global batch, and in one fused kernel where one device holds it."""

import keras
import tensorflow as tf

from cl_keras import distribute

FUSED_DTYPES = ("float32", "float16", "bfloat16")


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
        if not self._can_fuse(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        training = bool(training) and self.trainable
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
        if training:
            # The kernel hands out the unbiased variance; Keras keeps the biased one.
            count = tf.cast(tf.size(inputs) // channels, tf.float32)
            self._move(self.moving_mean, mean)
            self._move(self.moving_variance, variance * (count - 1.0) / count)
        return y

    def _can_fuse(self, inputs, mask):
        return (
            mask is None
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
            and self.compute_dtype in FUSED_DTYPES
            and distribute.num_replicas() == 1
        )

    def _move(self, moving, batch):
        batch = tf.cast(batch, moving.dtype)
        moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))
