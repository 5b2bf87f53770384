"""Losses for pairs: row i of one side matches row i of the other, at a learned scale."""

import tensorflow as tf

from cl_keras import distribute
from cl_keras.losses.queries import Queries, softmax_over_candidates
from cl_keras.similarity import cosine


def clip(first: tf.Tensor, second: tf.Tensor, scale: tf.Tensor) -> tuple[Queries, Queries]:
    """The softmax loss of CLIP, in both directions.

        L = ½ ( CE(e^a · x·yᵀ) + CE(e^a · y·xᵀ) )

    Radford et al. 2021. The candidates of a query are the rows of the other side in the global
    batch, which receive gradients.

    Args:
        first: `[b, d]`, x of this replica; need not be normalized.
        second: `[b, d]`, y.
        scale: scalar, e^a, the inverse temperature.

    Returns:
        `Queries` of the first side, and of the second.
    """
    own = distribute.own_rows(tf.shape(first)[0])
    forward = cosine(first, distribute.gather(second)) * scale
    backward = cosine(second, distribute.gather(first)) * scale
    return softmax_over_candidates(own, forward, 1.0), softmax_over_candidates(own, backward, 1.0)


def siglip(first: tf.Tensor, second: tf.Tensor, scale: tf.Tensor, bias: tf.Tensor) -> Queries:
    """The sigmoid loss of SigLIP, which classifies each pair as matching or not.

        L_i = -Σ_j log σ( y_ij (e^{t'} x_i·y_j + b) ),  y_ij = 1 where i = j, else -1

    Zhai et al. 2023; google-research/big_vision. The sum goes over the global batch.

    Args:
        first: `[b, d]`, x of this replica; need not be normalized.
        second: `[b, d]`, y.
        scale: scalar, e^{t'}.
        bias: scalar, b.

    Returns:
        `Queries` of the first side; a hit is a query whose match has the highest score.
    """
    own = distribute.own_rows(tf.shape(first)[0])
    scores = cosine(first, distribute.gather(second))
    logits = scores * scale + bias
    together = own[:, None] == tf.range(tf.shape(scores)[1])
    losses = tf.reduce_sum(tf.nn.softplus(tf.where(together, -logits, logits)), axis=1)
    return Queries(losses, tf.argmax(scores, axis=1, output_type=tf.int32) == own)
