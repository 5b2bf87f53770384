"""The bounds, against NumPy loops and on Gaussians with known mutual information."""

import numpy as np
import pytest
import tensorflow as tf

from cl_keras import distribute
from cl_keras.losses import mutual_information
from tests.complex_step import gradients


def softplus(x):
    return np.log(1 + np.exp(x))


def by_loops(name, scores, positives):
    """The formula of the module, pair by pair."""
    pairs = list(np.ndindex(scores.shape))
    own = [p for p in pairs if positives[p]]
    others = [p for p in pairs if not positives[p]]
    if name == "jsd":
        found = sum(-softplus(-scores[p]) for p in own) / len(own)
        return found - sum(softplus(scores[p]) for p in others) / len(others) + 2 * np.log(2)
    if name == "dv":
        spread = np.log(sum(np.exp(scores[p]) for p in others) / len(others))
        return sum(scores[p] for p in own) / len(own) - spread
    total = 0
    for i, j in own:
        negatives = [np.exp(scores[p]) for p in others if p[0] == i]
        total += scores[i, j] - np.log(np.exp(scores[i, j]) + sum(negatives))
    return total / len(own) + np.log(1 + len(negatives))


@pytest.mark.parametrize("name", mutual_information.BOUNDS)
@pytest.mark.parametrize("positives", ["one", "two"])
def test_bounds_are_their_formulas_in_value_and_gradient(name, positives, random):
    mask = np.eye(5, dtype=bool) if positives == "one" else np.repeat(np.eye(5, dtype=bool), 2, 1)
    scores = random.normal(size=mask.shape) * 3
    variable = tf.Variable(scores)
    with tf.GradientTape() as tape:
        bound = mutual_information.BOUNDS[name](variable, tf.constant(mask))
    np.testing.assert_allclose(bound, by_loops(name, scores, mask), rtol=0, atol=1e-12)
    [expected] = gradients(lambda s: by_loops(name, s, mask), [scores])
    np.testing.assert_allclose(tape.gradient(bound, variable), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", mutual_information.BOUNDS)
def test_two_replicas_equal_one(name, random, mirrored):
    scores, mask = tf.constant(random.normal(size=[6, 6])), tf.eye(6, dtype=tf.bool)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        expected = mutual_information.BOUNDS[name](scores, mask)
    slope = tape.gradient(expected, scores)

    @tf.function
    def run():
        def one():
            first = distribute.first_row(3)
            own = scores[first : first + 3]
            with tf.GradientTape() as tape:
                tape.watch(own)
                bound = mutual_information.BOUNDS[name](own, mask[first : first + 3])
                share = bound / distribute.num_replicas()
            mean = distribute.sum_over_replicas(share)
            return mean, distribute.gather(tape.gradient(share, own))

        return mirrored.run(one)

    mean, gathered = run()
    np.testing.assert_allclose(mirrored.experimental_local_results(mean)[0], expected, atol=1e-12)
    gathered = mirrored.experimental_local_results(gathered)[0]
    np.testing.assert_allclose(gathered, slope, rtol=0, atol=1e-12)


def log_ratio(x, y, correlation):
    """log p(x, y)/(p(x)·p(y)) of every pair of standard normals, `[n, m]`."""
    rest = 1 - correlation**2
    each = (
        -0.5 * np.log(rest)
        + (2 * correlation * x[:, None] * y - correlation**2 * (x[:, None] ** 2 + y**2)) / 2 / rest
    )
    return each.sum(axis=-1)


@pytest.mark.parametrize("correlation", [0.4, 0.6, 0.8])
def test_on_gaussians_the_best_critic_gives_the_known_information(correlation):
    draws, dim, count = np.random.default_rng(1), 3, 500
    known = -0.5 * dim * np.log(1 - correlation**2)
    found = {"infonce": [], "dv": []}
    for _ in range(32):
        x = draws.normal(size=[count, dim])
        y = correlation * x + np.sqrt(1 - correlation**2) * draws.normal(size=[count, dim])
        scores = tf.constant(log_ratio(x, y, correlation))
        for name, bounds in found.items():
            bounds.append(mutual_information.BOUNDS[name](scores, tf.eye(count, dtype=tf.bool)))
    for bounds in found.values():
        assert np.mean(bounds) == pytest.approx(known, rel=0.1)


def test_jensen_shannon_orders_gaussians_by_their_information():
    found = []
    for correlation in (0.0, 0.2, 0.4, 0.6, 0.8, 0.95):
        draws = np.random.default_rng(0)
        x = draws.normal(size=[500, 2])
        y = correlation * x + np.sqrt(1 - correlation**2) * draws.normal(size=[500, 2])
        scores = tf.constant(log_ratio(x, y, correlation))
        found.append(float(mutual_information.jensen_shannon(scores, tf.eye(500, dtype=tf.bool))))
    assert found == sorted(found) and found[0] == pytest.approx(0, abs=1e-12)


def test_info_nce_cannot_exceed_the_logarithm_of_its_candidates():
    scores = tf.eye(8, dtype=tf.float64) * 1000
    bound = mutual_information.info_nce_bound(scores, tf.eye(8, dtype=tf.bool))
    assert float(bound) == pytest.approx(np.log(8), abs=1e-12)


@pytest.mark.parametrize("name", mutual_information.BOUNDS)
def test_half_precision_scores_are_taken_in_float32(name, random):
    scores = tf.constant(random.normal(size=[4, 4]) * 100, tf.float16)
    bound = mutual_information.BOUNDS[name](scores, tf.eye(4, dtype=tf.bool))
    assert bound.dtype == tf.float32 and np.isfinite(bound)
