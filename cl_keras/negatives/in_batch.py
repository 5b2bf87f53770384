"""Negatives of end-to-end methods: all other views in the global batch."""

import tensorflow as tf

from cl_keras import distribute
from cl_keras.similarity import cosine


def in_batch(view0: tf.Tensor, view1: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores of two views of a batch against every view of the global batch.

    With 2 replicas of 2 images, replica 1 holds rows 2 and 3 of a global batch of `B = 4`.
    Its four queries see the eight candidates as (`+` positive, `.` itself, `-` negative):

                     view0 of 0 1 2 3   view1 of 0 1 2 3
        view0 of 2          - - . -            - - + -
        view0 of 3          - - - .            - - - +
        view1 of 2          - - + -            - - . -
        view1 of 3          - - - +            - - - .

    The candidates are gathered from every replica, and receive gradients.

    Args:
        view0: `[b, d]`, one view of each image of this replica; need not be normalized.
        view1: `[b, d]`, the other view.

    Returns:
        targets: int32 `[2b]`, index of the query's other view among the candidates.
        scores: `[2b, 2B]` cosines, `-inf` where a query would meet itself.
    """
    queries = tf.concat([view0, view1], axis=0)
    candidates = tf.concat([distribute.gather(view0), distribute.gather(view1)], axis=0)
    local = tf.shape(view0)[0]
    total = local * distribute.num_replicas()
    own = distribute.own_rows(local)
    itself = tf.concat([own, total + own], axis=0)
    targets = tf.concat([total + own, own], axis=0)

    scores = cosine(queries, candidates)
    is_itself = tf.one_hot(itself, 2 * total, on_value=True, off_value=False)
    return targets, tf.where(is_itself, scores.dtype.as_numpy_dtype("-inf"), scores)
