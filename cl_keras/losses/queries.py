"""The outcome of a loss for each query: its loss, whether it is a hit, and whether it counts."""

from typing import NamedTuple

import tensorflow as tf

from cl_keras.similarity import at_least_float32, check_temperature


class Queries(NamedTuple):
    """The outcome of a batch of queries.

    Attributes:
        losses: `[n]`, in nats; float32, or float64 if the scores are. 0 for a query that does not
            count.
        hits: bool `[n]`, whether the query's positive has the highest score.
        counts: bool `[n]`, whether the query has a positive, and so counts in means; None if all
            queries count.
    """

    losses: tf.Tensor
    hits: tf.Tensor
    counts: tf.Tensor | None = None


def softmax_over_candidates(targets: tf.Tensor, scores: tf.Tensor, temperature: float) -> Queries:
    """InfoNCE of each query, from its scores.

    Args:
        targets: int `[n]`, index of the positive among the candidates; -1 for a query without one.
        scores: `[n, m]` similarities; `-inf` leaves a candidate out.
        temperature: τ, above 0.

    Returns:
        `Queries`. Equal scores give `log(number of candidates)`.

    Raises:
        ValueError: if the temperature is not above 0.
    """
    targets = tf.convert_to_tensor(targets)
    counts, positive = targets >= 0, tf.maximum(targets, 0)
    logits = at_least_float32(scores) / check_temperature(temperature)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=positive, logits=logits)
    best = tf.argmax(logits, axis=1, output_type=positive.dtype)
    return Queries(tf.where(counts, losses, 0.0), counts & (best == positive), counts)


def from_log_sum_exp(positive, negatives) -> Queries:
    """InfoNCE of each query, from the log-sum-exp of its negatives.

        L = log(exp(p) + exp(n)) - p = softplus(n - p),  n = log Σ_i exp(s(q, k_i)/τ)

    Args:
        positive: `[n]`, p, the score of the positive divided by τ.
        negatives: a `LogSumExp` of the negatives.

    Returns:
        `Queries`.
    """
    losses = tf.nn.softplus(negatives.log_sum - positive)
    return Queries(losses, positive > negatives.greatest)
