"""Losses without stored scores, against the plain form, in value, gradient, hits and memory."""

import importlib
import types

import numpy as np
import pytest
import tensorflow as tf

from cl_keras import distribute, losses
from cl_keras.losses import panels, queries, tiles
from cl_keras.negatives import KeyQueue, MemoryBank


def unit(random, rows, dim=5):
    x = random.normal(size=[rows, dim])
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def log_sum_exp(scores, left_out):
    """Value and maximum of each row, and the softmax, in NumPy."""
    scores = np.where(left_out, -np.inf, scores)
    each = np.exp(scores)
    total = each.sum(axis=1)
    return np.log(total), scores.max(axis=1), each / total[:, None]


def weighted_gradient(function, inputs, weights):
    """Values of a `LogSumExp`, and the gradient of its weighted sum with respect to the inputs."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        found = function(*inputs)
    return *found, *tape.gradient(found.log_sum, inputs, output_gradients=weights)


@pytest.mark.parametrize(
    "rows, panel, known, compiled",
    [
        (4, 2, True, False),
        (12, 4, False, False),
        (14, 4, True, False),
        (16, 4, True, True),
        (30, 6, False, False),
        (30, 8, False, True),
    ],
)
def test_each_pair_is_met_once(random, rows, panel, known, compiled):
    """Odd and even numbers of panels, an incomplete last one, and known and unknown sizes."""
    pairs, weights, tau = unit(random, rows), random.normal(size=rows), 0.3
    partners = np.kron(np.eye(rows // 2), np.ones([2, 2])).astype(bool)
    value, greatest, softmax = log_sum_exp(pairs @ pairs.T / tau, partners)
    spec = tf.TensorSpec([rows if known else None, 5], tf.float64)

    @tf.function(input_signature=[spec], jit_compile=compiled)
    def run(pairs):
        def others(pairs):
            return panels.log_sum_exp_of_others(pairs, tau, panel_rows=panel)

        return weighted_gradient(others, [pairs], weights)

    received = run(tf.constant(pairs))
    by_scores = weights[:, None] * softmax / tau
    expected = value, greatest, by_scores @ pairs + by_scores.T @ pairs
    for one, other in zip(received, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "rows, size, tile, compiled",
    [(3, 7, 2, False), (3, 7, 7, False), (4, 8, 4, True), (1, 3, 2, False), (3, 8, 3, True)],
)
def test_tiles_add_up(random, rows, size, tile, compiled):
    """Also if the last tile overlaps the one before, and with two rows excluded."""
    query, keys, weights = unit(random, rows) / 0.2, unit(random, size), random.normal(size=rows)
    excluded = np.stack([random.permutation(size)[:2] for _ in range(rows)]).astype(np.int32)
    left_out = (excluded[:, :, None] == np.arange(size)).any(axis=1)
    value, greatest, softmax = log_sum_exp(query @ keys.T, left_out)
    by_scores = weights[:, None] * softmax

    @tf.function(jit_compile=compiled)
    def run(query, keys):
        def over_keys(query, keys):
            return tiles.log_sum_exp_over_keys(query, keys, excluded, tile=tile)

        def over_table(query):
            table = types.SimpleNamespace(size=size, all_rows=lambda: keys)
            return tiles.log_sum_exp_over_table(query, table, excluded, tile=tile)

        of_keys = weighted_gradient(over_keys, [query, keys], weights)
        return of_keys, weighted_gradient(over_table, [query], weights)

    expected = value, greatest, by_scores @ keys, by_scores.T @ query
    for received in run(tf.constant(query), tf.constant(keys)):
        for one, other in zip(received, expected, strict=False):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def loss_and_gradient(function, inputs):
    """Losses and hits, and the gradient of a weighted sum of the losses."""
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        found = function(*inputs)
        weights = np.arange(1.0, 1.0 + len(found.losses), dtype=found.losses.dtype.as_numpy_dtype)
        total = tf.reduce_sum(found.losses * weights)
    return found.losses, found.hits, tape.gradient(total, inputs)


def views(random, rows, dim=6):
    first = random.normal(size=[rows, dim])
    return [tf.constant(first), tf.constant(first + random.normal(size=[rows, dim]))]


def forms(random):
    queue, bank = KeyQueue(23, 6), MemoryBank(23, 6)
    index = tf.constant(random.integers(0, 23, 10))

    def over_bank(a, b):
        query = 0.2 * (a + b) + tf.cast(bank.rows(index), a.dtype)
        return losses.softmax_over_bank(query, index, bank, temperature=0.3)

    return {
        "nt_xent": lambda a, b: losses.nt_xent(a, b, temperature=0.3),
        "in_batch": lambda a, b: losses.info_nce_in_batch(a, b, temperature=0.3),
        "queue": lambda a, b: losses.info_nce(a, b, queue, temperature=0.3),
        "bank": over_bank,
    }


@pytest.fixture
def tiny_tiles(monkeypatch):
    """Makes even a handful of scores too many."""
    monkeypatch.setattr(tiles, "PLAIN", 0)
    monkeypatch.setattr(tiles, "MIN_TILE", 1)
    monkeypatch.setattr(tiles, "TILE", 64)
    monkeypatch.setattr(panels, "MIN_ROWS", 2)
    monkeypatch.setattr(panels, "PANEL", 32)


@pytest.mark.parametrize("form", ["nt_xent", "in_batch", "queue", "bank"])
@pytest.mark.parametrize("dtype, error", [("float64", 1e-12), ("float32", 1e-6)])
def test_both_forms_are_one(random, float64, monkeypatch, request, form, dtype, error):
    function, inputs = forms(random)[form], views(random, 10)
    plain = loss_and_gradient(function, inputs)
    request.getfixturevalue("tiny_tiles")
    if dtype == "float32":
        inputs = [tf.cast(each, dtype) for each in inputs]
    module = importlib.import_module("cl_keras.losses.info_nce")
    monkeypatch.setattr(module, "softmax_over_candidates", None)  # the plain form would fail
    received = loss_and_gradient(function, inputs)
    np.testing.assert_array_equal(received[1], plain[1])
    assert 0 < np.mean(plain[1]) < 1
    np.testing.assert_allclose(received[0], plain[0], rtol=0, atol=5 * error)
    for one, other in zip(received[2], plain[2], strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=50 * error)


@pytest.mark.parametrize("form", ["nt_xent", "in_batch"])
def test_two_replicas_are_one(random, mirrored, tiny_tiles, form):
    inputs = [each.numpy() for each in views(random, 6)]
    loss = losses.nt_xent if form == "nt_xent" else losses.info_nce_in_batch

    def mean_and_gradient(inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            found = loss(*inputs, temperature=0.3)
            mean = tf.reduce_mean(found.losses) / distribute.num_replicas()
        return mean, tf.cast(found.hits, tf.float64), tape.gradient(mean, inputs)

    @tf.function
    def step():
        rows = distribute.first_row(3) + tf.range(3)
        return mean_and_gradient([tf.gather(tf.constant(each), rows) for each in inputs])

    alone = mean_and_gradient([tf.constant(each) for each in inputs])
    mean, hits, slopes = mirrored.run(step)
    np.testing.assert_allclose(sum(mean.values), alone[0], rtol=0, atol=1e-12)
    assert sum(map(np.sum, hits.values)) == np.sum(alone[1])
    for one, other in zip(slopes, alone[2], strict=True):
        received = np.concatenate(one.values)
        np.testing.assert_allclose(received, other, rtol=0, atol=1e-12)


def test_the_form_depends_on_size_and_temperature():
    assert not tiles.by_tiles(512, 512, 0.1)
    assert tiles.by_tiles(8192, 8192, 0.1) and tiles.by_tiles(None, 8192, 0.1)
    assert not tiles.by_tiles(8192, 8192, 0.01)  # exp(100) is beyond float32


@pytest.mark.parametrize("form", ["nt_xent", "in_batch"])
def test_a_single_image_has_no_negatives(random, tiny_tiles, form):
    values, hits, slopes = loss_and_gradient(forms(random)[form], views(random, 1))
    np.testing.assert_array_equal(values, np.zeros(len(values)))
    assert np.all(hits)
    for slope in slopes:
        np.testing.assert_array_equal(slope, np.zeros([1, 6]))


def test_zero_vectors_stay_finite(tiny_tiles):
    inputs = [tf.zeros([6, 4]), tf.zeros([6, 4])]
    values, _, slopes = loss_and_gradient(lambda a, b: losses.nt_xent(a, b), inputs)
    np.testing.assert_allclose(values, np.full(12, np.log(11)), rtol=1e-6)
    assert all(np.isfinite(slope).all() for slope in slopes)


def test_a_large_batch_keeps_no_scores(random):
    """No tensor of a compiled step is as large as the scores of 4,096 rows."""

    def sizes(graph):
        for op in graph.get_operations():
            yield from (out.shape.num_elements() or 0 for out in op.outputs)

    @tf.function
    def step(view0, view1):
        return loss_and_gradient(lambda a, b: losses.nt_xent(a, b), [view0, view1])

    graph = step.get_concrete_function(*[tf.TensorSpec([2048, 16])] * 2).graph
    bodies = [function.graph for function in graph._functions.values()]
    panel = 512 * (4 + 1) * 512  # 8 panels of 512 rows, each against itself and the 4 after it
    assert max(max(sizes(body)) for body in bodies) == panel
    assert max(sizes(graph)) < panel


def test_queries_reports_what_the_plain_form_reports(random):
    scores = tf.constant(random.uniform(-5, 5, [7, 9]))
    plain = queries.softmax_over_candidates(np.zeros(7, np.int32), scores, 1.0)
    negatives = tiles.LogSumExp(
        tf.reduce_logsumexp(scores[:, 1:], axis=1), tf.reduce_max(scores[:, 1:], axis=1)
    )
    received = queries.from_log_sum_exp(scores[:, 0], negatives)
    np.testing.assert_allclose(received.losses, plain.losses, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(received.hits, plain.hits)
