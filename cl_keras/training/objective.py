"""The outcome of a method for a batch: loss terms that add up as in the paper's formula."""

import dataclasses
from typing import Any

import tensorflow as tf

from cl_keras import distribute
from cl_keras.losses import Queries


@dataclasses.dataclass(frozen=True)
class Objective:
    """A loss, with the hits that its accuracy counts and the tensors to keep for `after_step`.

    `a + b` and `2.0 * a` are objectives too, so a method can return its paper's formula.

    Attributes:
        loss: scalar, the mean over this replica's rows.
        hits: float `[n, 2]`, whether each query found its candidate and whether it counts; None
            for a method without candidates.
        kept: structure of tensors `[b, ...]` for `after_step`, without gradients.
    """

    loss: tf.Tensor
    hits: tf.Tensor | None = None
    kept: Any = None

    def __add__(self, other):
        hits = [each.hits for each in (self, other) if each.hits is not None]
        kept = self.kept if other.kept is None else other.kept
        return Objective(self.loss + other.loss, tf.concat(hits, axis=0) if hits else None, kept)

    def __rmul__(self, weight):
        return dataclasses.replace(self, loss=weight * self.loss)

    def keep(self, rows: Any) -> "Objective":
        """The same objective, with the tensors that `after_step` will receive."""
        return dataclasses.replace(self, kept=tf.nest.map_structure(_without_gradient, rows))


def _without_gradient(rows):
    return None if rows is None else tf.stop_gradient(rows)


def mean_over(queries: Queries) -> Objective:
    """The mean loss over the queries that count, across all replicas, and their hits."""
    losses, hits, counts = queries
    loss = tf.reduce_mean(losses) if counts is None else mean_of(losses, counts)
    counts = tf.ones_like(hits) if counts is None else counts
    return Objective(loss, tf.cast(tf.stack([hits, counts], axis=1), tf.float32))


def mean_of(values: tf.Tensor, counts: tf.Tensor) -> tf.Tensor:
    """The mean of the values `[n]` that count, across all replicas."""
    counts = tf.cast(counts, values.dtype)
    share = distribute.sum_over_replicas(tf.reduce_mean(counts)) / distribute.num_replicas()
    return tf.math.divide_no_nan(tf.reduce_mean(tf.where(counts > 0, values, 0.0)), share)


def hits_of(targets: tf.Tensor, scores: tf.Tensor, known: tf.Tensor | bool = True) -> tf.Tensor:
    """Which queries score highest on their target, or on the largest of soft targets."""
    if targets.dtype.is_floating:
        targets = tf.argmax(targets, axis=1)
    best = tf.argmax(scores, axis=1, output_type=targets.dtype)
    known = tf.broadcast_to(known, tf.shape(best))
    return tf.cast(tf.stack([(best == targets) & known, known], axis=1), tf.float32)
