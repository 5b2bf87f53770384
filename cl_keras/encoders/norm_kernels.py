"""Batch normalization, addition and ReLU as two passes over the images, forward and backward.

    mean, variance  of x over the global batch                                    pass 1
    z  = γ·(x - mean)/√(variance + ε) + β + residual,  y = max(z, 0)              pass 2

    dz = dy where y > 0, else 0;   dβ = Σ dz;   dγ = Σ dz·x̂,  x̂ = (x - mean)/√(variance + ε)
    dx = γ/√(variance + ε) · (dz - mean(dz) - x̂·mean(dz·x̂)),   d residual = dz

Between passes, replicas exchange vectors of one number per channel. x and y are kept for the
gradient in their own type; arithmetic in float32 or float64 is confined to a pass, so that no wider
copy of the images is kept.
"""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from cl_keras import distribute


def wide(dtype: Any) -> tf.DType:
    """The type of statistics: float64 for float64, otherwise float32."""
    return tf.float64 if tf.as_dtype(dtype) == tf.float64 else tf.float32


def normalize(
    x: tf.Tensor,
    gamma: tf.Tensor,
    beta: tf.Tensor,
    residual: tf.Tensor | None = None,
    *,
    near: tf.Tensor,
    epsilon: float,
    relu: bool,
    all_replicas: bool,
    use_xla: bool,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Batch normalization with the statistics of the batch, and what follows it.

    Args:
        x: `[b, …, C]`.
        gamma: γ, `[C]`, in float32 or float64.
        beta: β, likewise.
        residual: of the shape and type of `x`; default: None.
        near: `[C]`, an estimate of the mean, such as the moving mean. The variance is the mean
            squared distance from it minus the squared mean distance. This holds for any estimate,
            and is most precise for a good one.
        epsilon: ε.
        relu: whether to end with a ReLU.
        all_replicas: whether the statistics are those of all replicas.
        use_xla: whether XLA compiles each pass.

    Returns:
        y, of the shape and type of `x`; the mean and the biased variance, `[C]`, without gradient.
    """
    passes = _passes(use_xla)
    near = tf.cast(near, gamma.dtype)
    total = distribute.sum_over_replicas if all_replicas else tf.identity
    replicas = distribute.num_replicas() if all_replicas else 1
    count = tf.cast(tf.size(x) // x.shape[-1] * replicas, gamma.dtype)

    @tf.custom_gradient
    def forward(x, gamma, beta, *residuals):
        distance, square = tf.unstack(total(passes.statistics(x, near)) / count)
        mean, variance = near + distance, tf.maximum(square - distance**2, 0.0)
        inverse = tf.math.rsqrt(variance + epsilon)
        y = passes.output(x, mean, gamma * inverse, beta, *residuals, relu=relu)

        def backward(dy, *_):
            sums = passes.gradient_sums(dy, y, x, mean, relu=relu)
            d_beta, d_gamma = sums[0], sums[1] * inverse
            shares = total(sums) / count
            dx, dz = passes.gradients(
                dy, y, x, mean, gamma * inverse, shares[0], shares[1] * inverse**2, relu=relu
            )
            return dx, d_gamma, d_beta, *([dz] if residuals else [])

        return (y, mean, variance), backward

    y, mean, variance = forward(x, gamma, beta, *([] if residual is None else [residual]))
    return y, tf.stop_gradient(mean), tf.stop_gradient(variance)


def _statistics(x, near):
    """`[2, C]`: sums of the distance to `near`, and of its square."""
    distance = tf.cast(x, near.dtype) - near
    axes = list(range(len(x.shape) - 1))
    return tf.stack([tf.reduce_sum(distance, axes), tf.reduce_sum(distance**2, axes)])


def _output(x, mean, scale, offset, residual=None, *, relu):
    y = (tf.cast(x, mean.dtype) - mean) * scale + offset
    if residual is not None:
        y += tf.cast(residual, y.dtype)
    return tf.cast(tf.nn.relu(y) if relu else y, x.dtype)


def _before_relu(dy, y, dtype, relu):
    dy = tf.cast(dy, dtype)
    return tf.where(y > 0, dy, tf.zeros_like(dy)) if relu else dy


def _gradient_sums(dy, y, x, mean, *, relu):
    """`[2, C]`: sums of dz and of dz·(x - mean)."""
    dz = _before_relu(dy, y, mean.dtype, relu)
    axes = list(range(len(x.shape) - 1))
    distance = tf.cast(x, mean.dtype) - mean
    return tf.stack([tf.reduce_sum(dz, axes), tf.reduce_sum(dz * distance, axes)])


def _gradients(dy, y, x, mean, scale, share, slope, *, relu):
    dz = _before_relu(dy, y, mean.dtype, relu)
    distance = tf.cast(x, mean.dtype) - mean
    return tf.cast(scale * (dz - share - distance * slope), x.dtype), tf.cast(dz, x.dtype)


class _Passes:
    def __init__(self, wrap: Callable[[Callable], Callable]):
        self.statistics, self.output = wrap(_statistics), wrap(_output)
        self.gradient_sums, self.gradients = wrap(_gradient_sums), wrap(_gradients)


@functools.cache
def _passes(use_xla):
    """The four passes, each compiled by XLA or not."""
    if not use_xla:
        return _Passes(lambda function: function)
    return _Passes(functools.partial(tf.function, jit_compile=True, autograph=False))
