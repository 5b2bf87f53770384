"""NCE with a noise distribution: is an image the query's own, or was it drawn from the noise?

For a query v and an image i of N, `P(i|v) = exp(s(v, i)/τ)/Z`. With K images drawn from the
uniform noise `P_n = 1/N`, the probability that i is the query's own image and not noise is

    h(i, v) = P(i|v) / (P(i|v) + K·P_n(i))
    L(v) = -log h(i, v) - Σ_K log(1 - h(j, v))

Gutmann & Hyvärinen 2010, "Noise-contrastive estimation"; Wu et al. 2018, "Unsupervised Feature
Learning via Non-Parametric Instance Discrimination", equations 4 to 8. The noise terms are summed.
"""

import math

import tensorflow as tf

from cl_keras.losses.queries import Queries
from cl_keras.negatives.partition import num_noise
from cl_keras.similarity import at_least_float32, check_temperature


def noise_contrastive(
    scores: tf.Tensor, log_z: tf.Tensor, *, temperature: float, num_images: int
) -> Queries:
    """NCE of each query, from its scores.

    Computed from logarithms, `log h = -softplus(log(K/N) - log P)`, so that neither a low
    temperature nor an h near 0 or 1 overflows. The authors' code adds 1e-7 to the denominators;
    nothing is added here.

    Args:
        scores: `[n, 1 + K]` similarities: the query's own image, then K drawn from uniform noise.
        log_z: scalar, log Z; treated as a constant.
        temperature: τ, above 0.
        num_images: N.

    Returns:
        `Queries`; a hit is an own image that scores higher than all the noise.

    Raises:
        ValueError: if the temperature is not above 0, or there is no noise.
    """
    scores = at_least_float32(scores)
    count = num_noise(scores)
    log_z = tf.cast(tf.stop_gradient(log_z), scores.dtype)
    # log P - log(K·P_n), the log odds of h
    odds = scores / check_temperature(temperature) - log_z - math.log(count / num_images)
    own, noise = odds[:, 0], odds[:, 1:]
    losses = tf.nn.softplus(-own) + tf.reduce_sum(tf.nn.softplus(noise), axis=1)
    return Queries(losses, own >= tf.reduce_max(noise, axis=1))
