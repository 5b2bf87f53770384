"""Objectives add and scale like the formulas of the papers."""

import numpy as np
import tensorflow as tf

from cl_keras.losses import Queries, softmax_over_candidates
from cl_keras.training.objective import Objective, hits_of, mean_over


def test_a_sum_of_terms_adds_losses_and_joins_hits():
    first = Objective(tf.constant(2.0), tf.constant([[1.0, 1.0]]), "kept")
    second = Objective(tf.constant(3.0), tf.constant([[0.0, 1.0], [0.0, 0.0]]))
    total = 2.0 * first + 0.5 * second
    assert float(total.loss) == 5.5 and total.kept == "kept"
    np.testing.assert_array_equal(total.hits, [[1, 1], [0, 1], [0, 0]])
    np.testing.assert_array_equal((second + Objective(tf.constant(1.0))).hits, second.hits)
    assert (Objective(tf.constant(1.0)) + Objective(tf.constant(1.0))).hits is None


def test_what_is_kept_gets_no_gradient():
    x = tf.constant([1.0, 2.0])
    with tf.GradientTape() as tape:
        tape.watch(x)
        kept = Objective(tf.reduce_sum(x)).keep({"rows": 3.0 * x, "index": None}).kept
        total = tf.reduce_sum(kept["rows"])
    assert kept["index"] is None and float(total) == 9.0
    assert tape.gradient(total, x) is None


def test_a_mean_is_one_over_the_queries_with_an_answer(random):
    scores = random.uniform(-1, 1, [5, 4])
    targets = np.array([2, -1, 0, 3, -1], "int32")
    objective = mean_over(softmax_over_candidates(targets, tf.constant(scores), 0.3))
    known = targets >= 0
    logits = scores[known] / 0.3
    each = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(3), targets[known]]
    np.testing.assert_allclose(objective.loss, each.mean(), rtol=0, atol=1e-12)
    right = scores[known].argmax(axis=1) == targets[known]
    np.testing.assert_array_equal(objective.hits[:, 1], known)
    np.testing.assert_array_equal(objective.hits.numpy()[known, 0], right)
    assert objective.hits.numpy()[~known, 0].sum() == 0


def test_hits_of_soft_targets_are_the_most_probable():
    hits = hits_of(tf.constant([[0.1, 0.9], [0.6, 0.4]]), tf.constant([[0.0, 1.0], [0.0, 1.0]]))
    np.testing.assert_array_equal(hits, [[1, 1], [0, 1]])


def test_by_default_every_query_counts():
    objective = mean_over(Queries(tf.constant([1.0, 2.0, 6.0]), tf.constant([True, False, True])))
    assert float(objective.loss) == 3.0
    np.testing.assert_array_equal(objective.hits, [[1, 1], [0, 1], [1, 1]])
