import math

import numpy as np
import pytest
import tensorflow as tf

from cl_keras.losses.swapped_assignment import (
    pair_weights,
    softmax_over_codes,
    swapped_assignment,
)


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def codes_and_scores(random, views, batch=6, count=5):
    codes = [random.dirichlet(np.ones(count), batch) for _ in range(2)]
    return codes, [random.uniform(-1, 1, [batch, count]) for _ in range(views)]


def by_pairs(codes, scores, tau):
    """Loops over codes, other views and images; and the gradient with respect to the scores."""
    pairs = [(t, s) for t in range(2) for s in range(len(scores)) if s != t]
    batch = len(codes[0])
    loss, slopes = 0.0, [np.zeros_like(one) for one in scores]
    for t, s in pairs:
        logs = log_softmax(scores[s] / tau)
        loss -= (codes[t] * logs).sum() / batch / len(pairs)
        slopes[s] += (np.exp(logs) - codes[t]) / tau / batch / len(pairs)
    return loss, slopes


@pytest.mark.parametrize("views", [2, 3, 8])
def test_value_and_gradient_are_those_of_the_pairs(random, views):
    codes, scores = codes_and_scores(random, views)
    tensors = list(map(tf.constant, scores))
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        loss = swapped_assignment(codes, tensors, temperature=0.3)
    expected, slopes = by_pairs(codes, scores, 0.3)
    np.testing.assert_allclose(loss, expected, rtol=0, atol=1e-12)
    for received, wanted in zip(tape.gradient(loss, tensors), slopes, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=0, atol=1e-12)


def test_equal_scores_give_the_log_of_their_number(random):
    codes, _ = codes_and_scores(random, 2)
    loss = softmax_over_codes(codes[0], tf.zeros([6, 5]), 0.1)
    np.testing.assert_allclose(loss, np.full(6, math.log(5)), rtol=1e-6)


def test_half_precision_is_computed_in_float32(random):
    codes, scores = codes_and_scores(random, 3)
    half = [tf.cast(one, tf.float16) for one in scores]
    loss = swapped_assignment(codes, half, temperature=0.001)
    assert loss.dtype == tf.float32 and np.isfinite(loss)


@pytest.mark.parametrize("views", [2, 5])
def test_weights_have_mean_one(views):
    assert np.mean(pair_weights(views)) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("codes, scores", [(1, 2), (2, 1), (3, 3)])
def test_another_number_of_codes_or_views_is_refused(codes, scores):
    one = tf.ones([1, 1])
    with pytest.raises(ValueError, match=f"received {codes} codes and scores of {scores} views"):
        swapped_assignment(codes * [one], scores * [one])
