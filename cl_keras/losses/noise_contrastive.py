"""NCE with a noise distribution: is this the image, or was it drawn from the noise?

For a query v and an image i of N, `P(i|v) = exp(s(v, i)/τ)/Z`. With K images drawn from the
uniform noise `P_n = 1/N`, the probability that i is the query's own and no noise is

    h(i, v) = P(i|v) / (P(i|v) + K·P_n(i))
    L(v) = -log h(i, v) - Σ_K log(1 - h(j, v))

Gutmann & Hyvärinen 2010, "Noise-contrastive estimation"; Wu et al. 2018, "Unsupervised Feature
Learning via Non-Parametric Instance Discrimination", equations 4 to 8. The noise terms are summed.
"""

import math

import keras
import tensorflow as tf

from cl_keras import distribute
from cl_keras.losses.info_nce import check_temperature
from cl_keras.similarity import at_least_float32


def noise_contrastive(scores, log_z, *, temperature, num_images):
    """NCE of each query, from its scores.

    Computed from logarithms throughout, `log h = -softplus(log(K/N) - log P)`: neither a low
    temperature nor an h near 0 or 1 overflows. The authors' code adds 1e-7 to the denominators;
    nothing is added here.

    Args:
        scores: `[n, 1 + K]` similarities: the query's own image, then K drawn from uniform noise.
        log_z: scalar, log Z; it is taken as a constant.
        temperature: τ, above 0.
        num_images: N.

    Returns:
        `[n]` losses in nats, float32 (float64 if the scores are).

    Raises:
        ValueError: if the temperature is not above 0, or there is no noise.
    """
    scores = at_least_float32(scores)
    num_noise = _num_noise(scores)
    log_z = tf.cast(tf.stop_gradient(log_z), scores.dtype)
    # log P - log(K·P_n), the log odds of h
    odds = scores / check_temperature(temperature) - log_z - math.log(num_noise / num_images)
    own, noise = odds[:, 0], odds[:, 1:]
    return tf.nn.softplus(-own) + tf.reduce_sum(tf.nn.softplus(noise), axis=1)


def log_partitions(scores, *, temperature, num_images):
    """What the noise of each query tells of log Z: `Z = N · mean_noise(exp(s/τ))`.

    NOTE: the authors' code takes the mean over the query's own image too. Once that is learned,
    its exp(1/τ) would outweigh the sum of some thousand others; Z is a sum over all images, of
    which the noise is a fair sample, and the own image is not.

    Args:
        scores: `[n, 1 + K]`, as for `noise_contrastive`.
        temperature: τ, above 0.
        num_images: N.

    Returns:
        `[n]`, float32 (float64 if the scores are), without gradient.
    """
    scores = tf.stop_gradient(at_least_float32(scores))
    each = tf.reduce_logsumexp(scores[:, 1:] / check_temperature(temperature), axis=1)
    return each + math.log(num_images / _num_noise(scores))


def mean_log_partition(estimates):
    """log of the mean Z of the global batch.

    Args:
        estimates: `[n]` of this replica, what `log_partitions` gave.

    Returns:
        A scalar, the same on every replica.
    """
    count = tf.cast(tf.size(estimates), estimates.dtype) * distribute.num_replicas()
    total = tf.reduce_logsumexp(distribute.gather(tf.reduce_logsumexp(estimates)[None]))
    return total - tf.math.log(count)


@keras.saving.register_keras_serializable("cl_keras")
class RunningPartition(keras.layers.Layer):
    """The running average of Z, which every query of a method shares: `Z ← ρ·Z + (1 - ρ)·Z_batch`.

    The first batch sets it, and is measured by its own; every other by that of the batches before.
    `log_z` is saved with the model.

    NOTE: the authors' code takes Z from the first batch and keeps it, which hangs a whole run on
    one batch of an untrained network.

    Args:
        num_images: N.
        temperature: τ, above 0.
        decay: ρ, in [0, 1).

    Raises:
        ValueError: for a decay out of range, or a temperature not above 0.
    """

    def __init__(self, num_images, *, temperature, decay=0.99, **kwargs):
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

    def estimates(self, scores):
        """`log_partitions` of a batch, `[n]`, for `update`."""
        return log_partitions(scores, temperature=self.temperature, num_images=self.num_images)

    def update(self, estimates):
        """Takes a training batch into the average; once a step, after the loss.

        Args:
            estimates: `[n]` of this replica, what `estimates` gave.
        """
        new = self._mean(estimates)
        old = self.log_z.value
        # log(ρ·Z + (1 - ρ)·Z_batch), the greater of the two taken out
        top = tf.maximum(old, new)
        mean = self.decay * tf.exp(old - top) + (1.0 - self.decay) * tf.exp(new - top)
        averaged = top + tf.math.log(mean)
        self.log_z.assign(tf.where(self.batches.value == 0, new, averaged))
        self.batches.assign_add(1)

    def losses_of(self, scores):
        """`noise_contrastive` with this Z; before any training, with the Z of the batch.

        Args:
            scores: `[n, 1 + K]` of this replica, as for `noise_contrastive`.

        Returns:
            `[n]` losses in nats.
        """
        of_batch = self._mean(self.estimates(scores))
        log_z = tf.where(self.batches.value == 0, of_batch, self.log_z.value)
        return noise_contrastive(
            scores, log_z, temperature=self.temperature, num_images=self.num_images
        )

    def _mean(self, estimates):
        return tf.cast(mean_log_partition(estimates), self.log_z.dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "num_images": self.num_images,
            "temperature": self.temperature,
            "decay": self.decay,
        }


def _num_noise(scores):
    num_noise = (scores.shape[-1] or 1) - 1
    if scores.shape.rank != 2 or num_noise < 1:
        raise ValueError(
            "scores must be [n, 1 + K], the query's own image and K ≥ 1 drawn from noise; "
            f"received shape {tuple(scores.shape)}."
        )
    return num_noise
