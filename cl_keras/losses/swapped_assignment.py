"""Swapped assignment: predict the code of one view from another.

    L = 1/|P| Σ_{(t,s) ∈ P} -Σ_k q_t^(k) log p_s^(k),   p_s = softmax(z_s·C / τ)

over the pairs P of a view t that has a code and another view s. Caron et al. 2020, "Unsupervised
Learning of Visual Features by Contrasting Cluster Assignments" (SwAV), equations 1 and 2.
"""

from collections.abc import Sequence

import tensorflow as tf

from cl_keras.similarity import at_least_float32, check_temperature


def softmax_over_codes(codes: tf.Tensor, scores: tf.Tensor, temperature: float) -> tf.Tensor:
    """Cross-entropy of each row's scores with its soft code.

    Args:
        codes: `[n, K]`, rows that sum to 1.
        scores: `[n, K]` cosines with the prototypes.
        temperature: τ, above 0.

    Returns:
        `[n]` losses in nats, float32 (float64 if the scores are). Equal scores give `log(K)`.

    Raises:
        ValueError: if the temperature is not above 0.
    """
    logits = at_least_float32(scores) / check_temperature(temperature)
    return tf.nn.softmax_cross_entropy_with_logits(labels=codes, logits=logits)


def swapped_targets(code0: tf.Tensor, code1: tf.Tensor, num_views: int) -> tf.Tensor:
    """The codes that each view must predict: those of the first two views, except its own.

    A view with two codes to predict gets their mean, since the loss is linear in the code;
    `pair_weights` makes it count twice.

    Args:
        code0: `[b, K]`, code of the first view.
        code1: `[b, K]`, code of the second view.
        num_views: V, at least 2.

    Returns:
        `[V·b, K]`, view after view.
    """
    others = (num_views - 2) * [(code0 + code1) / 2.0]
    return tf.concat([code1, code0, *others], axis=0)


def pair_weights(num_views: int) -> list[float]:
    """Weights of the views, with mean 1, that turn a mean over views into one over pairs."""
    pairs = [1.0, 1.0] + (num_views - 2) * [2.0]
    return [count * num_views / sum(pairs) for count in pairs]


def swapped_assignment(
    codes: Sequence[tf.Tensor], scores: Sequence[tf.Tensor], *, temperature: float = 0.1
) -> tf.Tensor:
    """The loss of SwAV: the mean over pairs of a code and another view.

    Args:
        codes: two tensors `[b, K]`, the codes of the first two views; rows sum to 1. They should
            carry no gradient, like those of `clustering.sinkhorn`.
        scores: list of `[b, K]`, cosines of each view with the prototypes.
        temperature: τ, above 0; default: 0.1.

    Returns:
        A scalar in nats.

    Raises:
        ValueError: for another number of codes, fewer than two views, or a temperature not above 0.
    """
    if len(codes) != 2 or len(scores) < 2:
        raise ValueError(
            "codes must be those of the first two views, and scores those of at least two views; "
            f"received {len(codes)} codes and scores of {len(scores)} views."
        )
    code0, code1 = map(at_least_float32, codes)
    targets = swapped_targets(code0, code1, len(scores))
    losses = softmax_over_codes(targets, tf.concat(scores, axis=0), temperature)
    of_views = tf.reduce_mean(tf.reshape(losses, [len(scores), -1]), axis=1)
    return tf.reduce_mean(of_views * pair_weights(len(scores)))
