"""Cosine similarity: the scores of the whole library."""

import numbers
from collections.abc import Callable
from typing import Any

import tensorflow as tf

EPSILON = 1e-12
"""Floor of a squared norm: a zero vector stays zero, and so does its gradient."""


def at_least_float32(x: Any) -> tf.Tensor:
    """`x` in float32, or in float64 if it came so: what norms and losses are computed in."""
    x = tf.convert_to_tensor(x)
    return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)


def normalize(x: Any) -> tf.Tensor:
    """Vectors of unit length along the last axis, in float32 or float64."""
    return tf.math.l2_normalize(at_least_float32(x), axis=-1, epsilon=EPSILON)


def random_unit_rows(seed: int) -> Callable:
    """An initializer of rows of random directions and unit length, a pure function of its seed."""

    def rows(shape, dtype):
        drawn = tf.random.stateless_normal(shape, [seed, 0], dtype=dtype, alg="philox")
        return tf.cast(normalize(drawn), dtype)

    return rows


def cosine(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Cosine of every vector of `a` with every vector of `b`.

    Args:
        a: `[..., n, d]`.
        b: `[..., m, d]`; leading axes broadcast.

    Returns:
        `[..., n, m]`, in float32 or float64.
    """
    return tf.matmul(normalize(a), normalize(b), transpose_b=True)


def check_temperature(temperature: float) -> float:
    """The temperature as a float.

    Raises:
        ValueError: if it is not a number above 0.
    """
    if isinstance(temperature, numbers.Real) and float(temperature) > 0:
        return float(temperature)
    raise ValueError(
        f"temperature must be a number above 0; received {temperature!r}. "
        "Usual values lie between 0.05 and 1: 0.1 (SimCLR on ImageNet), 0.2 or 0.5 (small images)."
    )
