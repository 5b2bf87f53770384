"""Sinkhorn–Knopp: soft assignments of a batch that use all prototypes equally."""

import functools

import tensorflow as tf

from cl_keras import distribute
from cl_keras.similarity import at_least_float32

_in_one_pass = functools.partial(tf.function, jit_compile=True, autograph=False)

RANGE = 60.0
"""Exponents are bounded below by minus this, so that float32 numbers do not underflow."""


def sinkhorn(scores: tf.Tensor, *, epsilon: float = 0.05, iterations: int = 3) -> tf.Tensor:
    """Soft codes of the rows of the global batch, spread evenly over the prototypes.

    The codes are `Q = diag(u) exp(S/ε) diag(v)` with scalings `u`, `v` such that alternately
    the columns have equal sums and each row sums to 1 (Cuturi 2013, "Sinkhorn Distances";
    Asano et al. 2020; Caron et al. 2020, SwAV):

        v ← 1 / (exp(S/ε)ᵀ u)       sums over the rows of all replicas
        u ← 1 / (exp(S/ε) v)

    Only the vectors u and v change, not the matrix. The scores are shifted by the largest of all
    replicas, which is enough for cosines and ε ≥ 1/30. For smaller ε, v and u are first found
    in the log domain and multiplied into the matrix, which is exact: afterwards each column and row
    has an entry of at least 1/B times its largest, so nothing vanishes.

    NOTE: if ε ≥ 1/30, scores are bounded below by the largest score minus 60 ε; cosines always are
    above.

    Args:
        scores: `[b, K]` similarities of this replica's rows to the prototypes, in any float type.
        epsilon: ε, above 0, default: 0.05; smaller values give harder codes.
        iterations: number of times columns and rows are scaled, at least 1; default: 3.

    Returns:
        `[b, K]` codes, whose rows sum to 1; float32, or float64 if the scores are. They have no
        gradient.

    Raises:
        ValueError: for an ε of 0 or below, or no iteration.
    """
    if not epsilon > 0:
        raise ValueError(f"epsilon must be above 0, 0.05 in the paper; received {epsilon!r}.")
    if iterations < 1:
        raise ValueError(f"iterations must be at least 1; received {iterations!r}.")
    logits = tf.stop_gradient(at_least_float32(scores)) / epsilon
    if 2.0 / epsilon <= RANGE:
        top = distribute.max_over_replicas(tf.reduce_max(logits))
        kernel = _exponentials(logits, top)
        v = _column_scales(kernel, tf.ones_like(kernel[:, 0]))
    else:
        kernel = _with_equal_columns(logits)
        v = tf.ones_like(kernel[0])
    u = 1.0 / tf.linalg.matvec(kernel, v)
    for _ in range(iterations - 1):
        v = _column_scales(kernel, u)
        u = 1.0 / tf.linalg.matvec(kernel, v)
    return _scaled(kernel, u, v)


@_in_one_pass
def _exponentials(logits, top):
    return tf.exp(tf.maximum(logits - top, -RANGE))


@_in_one_pass
def _scaled(kernel, u, v):
    return kernel * v * u[:, tf.newaxis]


def _column_scales(kernel, u):
    return 1.0 / distribute.sum_over_replicas(tf.linalg.matvec(kernel, u, transpose_a=True))


def _with_equal_columns(logits):
    """`exp(logits)` scaled to columns of equal sums, with each row then divided by its maximum."""
    logits -= distribute.max_over_replicas(tf.reduce_max(logits, axis=0))
    sums = distribute.sum_over_replicas(tf.reduce_sum(tf.exp(logits), axis=0))  # [K], each ≥ 1
    logits -= tf.math.log(sums)
    return tf.exp(logits - tf.reduce_max(logits, axis=1, keepdims=True))
