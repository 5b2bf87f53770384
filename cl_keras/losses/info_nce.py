"""InfoNCE: a softmax over candidates, of which one is right.

    L(q) = -log( exp(s(q, k+)/τ) / (exp(s(q, k+)/τ) + Σ_i exp(s(q, k_i)/τ)) )

van den Oord et al. 2018, "Representation Learning with Contrastive Predictive Coding";
with cosines and both views of a batch it is the NT-Xent of Chen et al. 2020 (SimCLR).
"""

import tensorflow as tf

from cl_keras import distribute
from cl_keras.negatives.in_batch import in_batch
from cl_keras.similarity import at_least_float32, cosine


def check_temperature(temperature) -> float:
    """The temperature as a float.

    Raises:
        ValueError: if it is not a number above 0.
    """
    if isinstance(temperature, (int, float)) and temperature > 0:
        return float(temperature)
    raise ValueError(
        f"temperature must be a number above 0; received {temperature!r}. "
        "Usual values lie between 0.05 and 1: 0.1 (SimCLR on ImageNet), 0.2 or 0.5 (small images)."
    )


def softmax_over_candidates(targets, scores, temperature):
    """InfoNCE of each query, from its scores.

    Args:
        targets: int `[n]`, the candidate that is the positive.
        scores: `[n, m]` similarities; `-inf` leaves a candidate out.
        temperature: τ, above 0.

    Returns:
        `[n]` losses in nats, float32 (float64 if the scores are). Equal scores give
        `log(number of candidates)`.
    """
    logits = at_least_float32(scores) / check_temperature(temperature)
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=logits)


def info_nce(query, positive, negatives, *, temperature=0.07, similarity=cosine):
    """InfoNCE of each query against its positive and many negatives.

    Args:
        query: `[n, d]`.
        positive: `[n, d]`, one for each query.
        negatives: `[m, d]`, shared by all queries, or `[n, m, d]`, each query's own.
        temperature: τ, above 0.
        similarity: function of `[..., n, d]` and `[..., m, d]` that gives `[..., n, m]`.

    Returns:
        `[n]` losses in nats.

    Raises:
        ValueError: if the temperature is not above 0, or `negatives` has another rank.
    """
    query, positive, negatives = map(tf.convert_to_tensor, (query, positive, negatives))
    if negatives.shape.rank not in (2, 3):
        raise ValueError(
            "negatives must be [m, d], shared by all queries, or [n, m, d], one set for each "
            f"query; received shape {tuple(negatives.shape)}."
        )
    each = query[:, None, :]
    to_positive = similarity(each, positive[:, None, :])[:, 0]
    if negatives.shape.rank == 2:
        to_negatives = similarity(query, negatives)
    else:
        to_negatives = similarity(each, negatives)[:, 0]
    scores = tf.concat([to_positive, to_negatives], axis=1)
    return softmax_over_candidates(tf.zeros_like(scores[:, 0], tf.int32), scores, temperature)


def nce(query, positive, negative, *, temperature=0.07, similarity=cosine):
    """NCE with one noise term: each query against its positive and one negative.

        L(q) = -log( exp(s(q, k+)/τ) / (exp(s(q, k+)/τ) + exp(s(q, k-)/τ)) )

    Args:
        query: `[n, d]`.
        positive: `[n, d]`.
        negative: `[n, d]`, one for each query.
        temperature: τ, above 0.
        similarity: function of `[..., n, d]` and `[..., m, d]` that gives `[..., n, m]`.

    Returns:
        `[n]` losses in nats.
    """
    negative = tf.convert_to_tensor(negative)[:, None, :]
    return info_nce(query, positive, negative, temperature=temperature, similarity=similarity)


def nt_xent(view0, view1, *, temperature=0.1):
    """NT-Xent, the loss of SimCLR: the mean of InfoNCE over the 2B views of a batch.

    NOTE: the official TensorFlow code adds the means of the two directions, which is twice this,
    the mean of the paper (equation 1 and algorithm 1).

    Args:
        view0: `[b, d]`, one view of each image; need not be normalised.
        view1: `[b, d]`, the other view.
        temperature: τ, above 0.

    Returns:
        A scalar in nats. In a replica context: this replica's share, which the strategy sums.
    """
    targets, scores = in_batch(view0, view1)
    losses = softmax_over_candidates(targets, scores, temperature)
    return tf.reduce_mean(losses) / distribute.num_replicas()
