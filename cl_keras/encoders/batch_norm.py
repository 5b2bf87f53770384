"""Batch normalization over the global batch, with the addition and ReLU that follow it."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from cl_keras import distribute
from cl_keras.encoders import norm_kernels

FUSED_DTYPES = ("float32", "float16", "bfloat16")
ACTIVATIONS = ("relu", None)

USE_XLA: bool | None = None
"""Whether XLA compiles the normalization in training; None means only with a GPU.

On a GPU, TensorFlow's own kernel converts images from NHWC to NCHW and back in each layer. On a CPU
it is the fastest.
"""

_SEEN: contextvars.ContextVar = contextvars.ContextVar("seen", default=None)
"""Within `statistics_per_call`, {layer: a list of the statistics of its calls so far}."""


@contextlib.contextmanager
def statistics_per_call() -> Iterator[None]:
    """In this context, each call uses the statistics of its own images, on its replica only.

    The moving statistics are updated once, at the end, with the mean over all calls on all
    replicas, so they do not depend on how the groups of a batch are spread over replicas.
    """
    seen: dict[Any, list] = {}
    token = _SEEN.set(seen)
    try:
        yield
    finally:
        _SEEN.reset(token)
    if seen:
        _update_by_mean(seen)


def _update_by_mean(seen):
    layers = list(seen)
    own = [tf.reduce_mean(tf.stack(seen[layer]), axis=0) for layer in layers]
    # One exchange for all layers; gathered values are summed in the same order on all replicas.
    means = tf.reduce_mean(distribute.gather(tf.concat(own, axis=1)[tf.newaxis]), axis=0)
    widths = [pair.shape[1] for pair in own]
    for layer, pair in zip(layers, tf.split(means, widths, axis=1), strict=True):
        layer.update_moving_statistics(pair[0], pair[1])


@keras.saving.register_keras_serializable("cl_keras")
class BatchNormalization(keras.layers.Layer):
    """Batch normalization (Ioffe & Szegedy 2015), with what follows it in a residual network.

        y = activation(γ · (x - mean) / √(variance + ε) + β + residual)

    In training, mean and variance are those of the global batch, over all but the last axis, so N
    replicas equal one; otherwise they are the moving statistics. Values, gradients and moving
    statistics are those of `keras.layers.BatchNormalization(synchronized=True)`.

    On a GPU, XLA compiles each pass over the images, which stay NHWC and in half precision, under
    any strategy. On a CPU, one replica takes TensorFlow's fused kernel.

    Args:
        momentum: weight of the old moving statistics; default: 0.9, as in ResNets.
        epsilon: ε, added to the variance; default: 1e-5.
        center: whether to add β; default: True.
        scale: whether to multiply by γ; default: True.
        gamma_initializer: initializer of γ; default: `"ones"`; `"zeros"` starts a residual block as
            the identity.
        activation: `"relu"` or None; default: None.
        **kwargs: as for `keras.layers.Layer`.

    Raises:
        ValueError: for another activation.
    """

    def __init__(
        self,
        *,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        center: bool = True,
        scale: bool = True,
        gamma_initializer: str | keras.initializers.Initializer = "ones",
        activation: str | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be 'relu' or None; received {activation!r}.")
        self.momentum, self.epsilon = momentum, epsilon
        self.center, self.scale = center, scale
        self.gamma_initializer = keras.initializers.get(gamma_initializer)
        self.activation = activation
        self.gamma = self.beta = None

    def build(self, inputs_shape, residual_shape=None):
        shape = [inputs_shape[-1]]
        weight = {"shape": shape, "autocast": False}
        if self.scale:
            self.gamma = self.add_weight(name="gamma", initializer=self.gamma_initializer, **weight)
        if self.center:
            self.beta = self.add_weight(name="beta", initializer="zeros", **weight)
        weight["trainable"] = False
        self.moving_mean = self.add_weight(name="moving_mean", initializer="zeros", **weight)
        self.moving_variance = self.add_weight(name="moving_variance", initializer="ones", **weight)

    def call(self, inputs, residual=None, training=None):
        """Args:
        inputs: `[b, …, C]`.
        residual: added before the activation, of the shape of `inputs`; default: None.
        training: whether to use the statistics of the batch, and update the moving ones.
        """
        if not (training and self.trainable):
            return self._finished(self._by_moving_statistics(inputs), residual)
        per_call = _SEEN.get() is not None
        alone = per_call or distribute.num_replicas() == 1
        if alone and self._can_fuse(inputs) and not _uses_xla():
            y, mean, variance = self._fused(inputs)
            y = self._finished(y, residual)
        else:
            y, mean, variance = norm_kernels.normalize(
                inputs,
                *self._affine(inputs.shape[-1], norm_kernels.wide(inputs.dtype)),
                residual,
                near=self.moving_mean.value,
                epsilon=self.epsilon,
                relu=self.activation == "relu",
                all_replicas=not alone,
                use_xla=_uses_xla(),
            )
        if per_call:
            pair = tf.cast(tf.stack([mean, variance]), self.moving_mean.dtype)
            _SEEN.get().setdefault(self, []).append(pair)
        else:
            self.update_moving_statistics(mean, variance)
        return y

    def compute_output_spec(self, inputs, residual=None, training=None):
        return keras.KerasTensor(inputs.shape, dtype=self.compute_dtype)

    def update_moving_statistics(self, mean: tf.Tensor, variance: tf.Tensor) -> None:
        """Moves the moving statistics towards those of a batch, `[C]` each."""
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            batch = tf.cast(batch, moving.dtype)
            moving.assign(moving * self.momentum + batch * (1.0 - self.momentum))

    def _affine(self, channels, dtype):
        gamma = tf.cast(self.gamma.value, dtype) if self.scale else tf.ones([channels], dtype)
        beta = tf.cast(self.beta.value, dtype) if self.center else tf.zeros([channels], dtype)
        return gamma, beta

    def _finished(self, y, residual):
        y = y if residual is None else y + residual
        return tf.nn.relu(y) if self.activation else y

    def _can_fuse(self, inputs):
        return len(inputs.shape) == 4 and self.compute_dtype in FUSED_DTYPES

    def _fused(self, inputs):
        """Output, mean and variance of the batch, from TensorFlow's kernel."""
        gamma, beta = self._affine(inputs.shape[-1], tf.float32)
        y, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs, scale=gamma, offset=beta, mean=[], variance=[], epsilon=self.epsilon
        )
        # The kernel returns the unbiased variance; Keras uses the biased one.
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], tf.float32)
        return y, mean, variance * (count - 1.0) / count

    def _by_moving_statistics(self, inputs):
        wide = norm_kernels.wide(inputs.dtype)
        gamma, beta = self._affine(inputs.shape[-1], wide)
        mean, variance = (
            tf.cast(moving.value, wide) for moving in (self.moving_mean, self.moving_variance)
        )
        if self._can_fuse(inputs):
            return tf.raw_ops.FusedBatchNormV3(
                x=inputs,
                scale=gamma,
                offset=beta,
                mean=mean,
                variance=variance,
                epsilon=self.epsilon,
                is_training=False,
            ).y
        gamma = gamma * tf.math.rsqrt(variance + self.epsilon)
        return tf.cast((tf.cast(inputs, wide) - mean) * gamma + beta, inputs.dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "gamma_initializer": keras.initializers.serialize(self.gamma_initializer),
            "activation": self.activation,
        }


def _uses_xla():
    if USE_XLA is None:
        return bool(tf.config.list_logical_devices("GPU"))
    return USE_XLA
