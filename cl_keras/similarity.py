"""Cosine similarity, which all scores of the library are."""

import numbers
from collections.abc import Callable
from typing import Any

import tensorflow as tf

EPSILON = 1e-12
"""Lower bound of squared norms, so that zero vectors and their gradients remain zero."""


def at_least_float32(x: Any) -> tf.Tensor:
    """`x` in float32, or float64 if it is float64, the types for norms and losses."""
    x = tf.convert_to_tensor(x)
    return x if x.dtype == tf.float64 else tf.cast(x, tf.float32)


def normalize(x: Any) -> tf.Tensor:
    """Vectors of unit length along the last axis, in float32 or float64."""
    return tf.math.l2_normalize(at_least_float32(x), axis=-1, epsilon=EPSILON)


def random_unit_rows(seed: int) -> Callable:
    """An initializer of rows of unit length in random directions that depend only on the seed."""

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
        "Usual values are 0.05 to 1, e.g. 0.1 (SimCLR on ImageNet), 0.2 or 0.5 (small images)."
    )
