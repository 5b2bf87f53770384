"""InfoNCE with several positives per query, such as all views of the same class.

    L(q) = -1/|P(q)| Σ_{p ∈ P(q)} log( exp(s(q, p)/τ) / Σ_a exp(s(q, a)/τ) )

Khosla et al. 2020, "Supervised Contrastive Learning", equation 2: the mean over the positives is
outside the logarithm.
"""

import tensorflow as tf

from cl_keras import distribute
from cl_keras.losses.queries import Queries
from cl_keras.similarity import at_least_float32, check_temperature


def softmax_over_positives(positives: tf.Tensor, scores: tf.Tensor, temperature: float) -> Queries:
    """The loss of each query, from its scores and the mask of its positives.

    With one positive per query, it equals `softmax_over_candidates`.

    NOTE: the authors' code multiplies the loss of the paper by τ/0.07, which amounts to another
    learning rate; this is the loss of the paper.

    Args:
        positives: bool `[n, m]`. A query without positives does not count; a candidate that is left
            out is never a positive.
        scores: `[n, m]` similarities; `-inf` leaves a candidate out.
        temperature: τ, above 0.

    Returns:
        `Queries`; a hit is a query whose highest score is that of a positive.

    Raises:
        ValueError: if the temperature is not above 0.
    """
    logits = at_least_float32(scores) / check_temperature(temperature)
    positives &= tf.math.is_finite(logits)
    number = tf.reduce_sum(tf.cast(positives, logits.dtype), axis=1)
    total = tf.reduce_sum(tf.where(positives, logits, 0.0), axis=1)
    losses = tf.reduce_logsumexp(logits, axis=1) - tf.math.divide_no_nan(total, number)
    best = tf.argmax(logits, axis=1)
    hits = tf.gather(positives, best, batch_dims=1)
    counts = number > 0
    return Queries(tf.where(counts, losses, 0.0), hits, counts)


def positives_in_batch(labels: tf.Tensor, num_views: int = 2) -> tf.Tensor:
    """The views of the global batch that are positives of each view, for `in_batch`'s scores.

    The other views of an image are always its positives, even if its label is not known.

    Args:
        labels: int `[b]`, the class of each image of this replica, or any integer that several
            images share; -1 for none.
        num_views: V, the number of views per image; default: 2.

    Returns:
        bool `[V·b, V·B]`, view after view; a view is not its own positive.
    """
    count = tf.shape(labels)[0]
    own = distribute.own_rows(count)
    every, total = distribute.gather(labels), count * distribute.num_replicas()
    same_image = own[:, None] == tf.range(total)
    same_label = (labels[:, None] == every) & (labels[:, None] >= 0)
    itself = tf.concat([own + view * total for view in range(num_views)], axis=0)
    positives = tf.tile(same_image | same_label, [num_views, num_views])
    return positives & (itself[:, None] != tf.range(num_views * total))
