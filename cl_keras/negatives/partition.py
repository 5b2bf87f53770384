"""Estimates the partition function Z of the softmax over all images from a sample."""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cl_keras import distribute
from cl_keras.similarity import at_least_float32, check_temperature


def log_partitions(scores: tf.Tensor, *, temperature: float, num_images: int) -> tf.Tensor:
    """Estimates log Z from the noise of each query: `Z = N · mean_noise(exp(s/τ))`.

    NOTE: the authors' code includes the query's own image in the mean. Once that is learned, its
    exp(1/τ) would outweigh the sum of thousands of others; Z is a sum over all images, of which the
    noise is a fair sample, while the query's own image is not.

    Args:
        scores: `[n, 1 + K]`, the query's own image, and K images drawn from the noise.
        temperature: τ, above 0.
        num_images: N.

    Returns:
        `[n]`, float32 (float64 if the scores are), without gradient.
    """
    scores = tf.stop_gradient(at_least_float32(scores))
    each = tf.reduce_logsumexp(scores[:, 1:] / check_temperature(temperature), axis=1)
    return each + math.log(num_images / num_noise(scores))


def mean_log_partition(estimates: tf.Tensor) -> tf.Tensor:
    """The log of the mean Z of the global batch.

    Args:
        estimates: `[n]` of this replica, from `log_partitions`.

    Returns:
        A scalar, the same on every replica.
    """
    count = tf.cast(tf.size(estimates), estimates.dtype) * distribute.num_replicas()
    total = tf.reduce_logsumexp(distribute.gather(tf.reduce_logsumexp(estimates)[None]))
    return total - tf.math.log(count)


@keras.saving.register_keras_serializable("cl_keras")
class RunningPartition(keras.layers.Layer):
    """The running average of Z, shared by all queries of a method: `Z ← ρ·Z + (1 - ρ)·Z_batch`.

    The first batch sets it, and uses its own Z; later batches use the average of those before.
    `log_z` is saved with the model.

    NOTE: the authors' code keeps the Z of the first batch, so a whole run depends on one batch of
    an untrained network.

    Args:
        num_images: N.
        temperature: τ, above 0.
        decay: ρ, in [0, 1); default: 0.99.

    Raises:
        ValueError: for a decay out of range, or a temperature not above 0.
    """

    def __init__(self, num_images: int, *, temperature: float, decay: float = 0.99, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= decay < 1:
            raise ValueError(f"decay must lie in [0, 1); received {decay!r}.")
        self.num_images, self.decay = num_images, decay
        self.temperature = check_temperature(temperature)
        state = {"trainable": False, "aggregation": "only_first_replica", "autocast": False}
        self.log_z = self.add_weight(
            name="log_z",
            shape=[],
            dtype="float64" if self.variable_dtype == "float64" else "float32",
            initializer="zeros",
            **state,
        )
        self.batches = self.add_weight(
            name="batches", shape=[], dtype="int64", initializer="zeros", **state
        )
        self.built = True

    def estimates(self, scores: tf.Tensor) -> tf.Tensor:
        """`log_partitions` of a batch, `[n]`, for `update`."""
        return log_partitions(scores, temperature=self.temperature, num_images=self.num_images)

    def update(self, estimates: tf.Tensor) -> None:
        """Adds a training batch to the average; call once per step, after the loss.

        Args:
            estimates: `[n]` of this replica, from `estimates`.
        """
        new = self._mean(estimates)
        old = self.log_z.value
        # log(ρ·Z + (1 - ρ)·Z_batch), with the greater of the two factored out
        top = tf.maximum(old, new)
        mean = self.decay * tf.exp(old - top) + (1.0 - self.decay) * tf.exp(new - top)
        averaged = top + tf.math.log(mean)
        self.log_z.assign(tf.where(self.batches.value == 0, new, averaged))
        self.batches.assign_add(1)

    def log_z_for(self, estimates: Callable[[], tf.Tensor]) -> tf.Tensor:
        """log Z for a batch, a scalar: the running one, or before any training that of the batch.

        Args:
            estimates: a function that returns the `estimates` `[n]` of this replica; it is only
                called before any training.
        """
        before = self.batches.value == 0
        of_batch = tf.cond(before, estimates, lambda: tf.zeros([1], self.log_z.dtype))
        # The mean over replicas is taken in any case, since they cannot communicate in a branch.
        return tf.where(before, self._mean(of_batch), self.log_z.value)

    def _mean(self, estimates):
        return tf.cast(mean_log_partition(estimates), self.log_z.dtype)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_images": self.num_images,
            "temperature": self.temperature,
            "decay": self.decay,
        }


def num_noise(scores: tf.Tensor) -> int:
    """K of `[n, 1 + K]` scores.

    Raises:
        ValueError: for scores of another rank, or without noise.
    """
    count = (scores.shape[-1] or 1) - 1
    if scores.shape.rank != 2 or count < 1:
        raise ValueError(
            "scores must be [n, 1 + K], for the query's own image and K ≥ 1 drawn from noise; "
            f"received shape {tuple(scores.shape)}."
        )
    return count
