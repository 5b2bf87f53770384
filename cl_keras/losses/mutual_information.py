"""Lower bounds of mutual information, from the scores of a critic.

A critic scores pairs `(x_i, y_j)`: those of the joint distribution are positives, those of the
product of the marginals are negatives. With E⁺ and E⁻ the means over both,

    Donsker–Varadhan   I ≥ E⁺[s] - log E⁻[exp s]                     (Belghazi et al. 2018)
    InfoNCE            I ≥ E⁺[s - log(exp s + Σ⁻ exp s⁻)] + log(1 + K)   (van den Oord et al. 2018)
    Jensen–Shannon     E⁺[-softplus(-s)] - E⁻[softplus(s)] + 2 log 2      (Hjelm et al. 2019)

The first two are in nats. InfoNCE cannot exceed `log(1 + K)` with K negatives. The third bounds
twice the Jensen–Shannon divergence, which orders distributions like their mutual information and is
the most stable to train. All are maximal for `s(x, y) = log p(x, y)/(p(x)·p(y))`, InfoNCE also with
any function of x added.
"""

from collections.abc import Callable

import tensorflow as tf

from cl_keras import distribute
from cl_keras.similarity import at_least_float32


def jensen_shannon(scores: tf.Tensor, positives: tf.Tensor) -> tf.Tensor:
    """A lower bound of twice the Jensen–Shannon divergence.

    Args:
        scores: `[n, m]`, of this replica's queries with every candidate.
        positives: bool `[n, m]`; all other pairs are negatives.

    Returns:
        Scalar, this replica's mean; the mean over replicas is that of the global batch.
    """
    scores = at_least_float32(scores)
    on_positives = _mean(-tf.nn.softplus(-scores), positives)
    on_negatives = _mean(tf.nn.softplus(scores), ~positives)
    return on_positives - on_negatives + 2.0 * tf.math.log(tf.constant(2.0, scores.dtype))


def donsker_varadhan(scores: tf.Tensor, positives: tf.Tensor) -> tf.Tensor:
    """The Donsker–Varadhan bound in nats; arguments as for `jensen_shannon`."""
    scores = at_least_float32(scores)
    # The logarithm is of a mean over all replicas.
    by_query = tf.reduce_logsumexp(_only_negatives(scores, positives), axis=1)
    count = distribute.sum_over_replicas(_count(~positives, scores.dtype))
    log_mean = tf.reduce_logsumexp(distribute.gather(by_query)) - tf.math.log(count)
    return _mean(scores, positives) - log_mean


def info_nce_bound(scores: tf.Tensor, positives: tf.Tensor) -> tf.Tensor:
    """The InfoNCE bound in nats; arguments as for `jensen_shannon`.

    A query with several positives counts once for each, against the negatives only.
    """
    scores = at_least_float32(scores)
    negatives = tf.reduce_logsumexp(_only_negatives(scores, positives), axis=1, keepdims=True)
    # log(exp s / (exp s + exp n)) = -softplus(n - s)
    found = _mean(-tf.nn.softplus(negatives - scores), positives)
    count = _count(~positives, scores.dtype) / tf.cast(tf.shape(scores)[0], scores.dtype)
    return found + tf.math.log(1.0 + count)


BOUNDS: dict[str, Callable] = {
    "jsd": jensen_shannon,
    "infonce": info_nce_bound,
    "dv": donsker_varadhan,
}
"""The bounds, by the names that methods accept."""


def _mean(values, where):
    total = tf.reduce_sum(tf.where(where, values, tf.zeros_like(values)))
    return total / _count(where, values.dtype)


def _count(where, dtype):
    return tf.reduce_sum(tf.cast(where, dtype))


def _only_negatives(scores, positives):
    return tf.where(positives, scores.dtype.as_numpy_dtype("-inf"), scores)
