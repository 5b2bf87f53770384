import numpy as np
import pytest
import tensorflow as tf

from cl_keras import losses


def cosine(a, b):
    return a @ b / (np.linalg.norm(a) * np.linalg.norm(b))


def softmax_loss(scores, right):
    return -np.log(np.exp(scores[right]) / np.sum(np.exp(scores)))


def gradient_of(function, x, step=1e-6):
    """Central differences, one coordinate at a time."""
    result = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        ahead, behind = x.copy(), x.copy()
        ahead[i] += step
        behind[i] -= step
        result[i] = (function(ahead) - function(behind)) / (2 * step)
    return result


def mean_nt_xent(view0, view1, temperature):
    return tf.reduce_mean(losses.nt_xent(view0, view1, temperature=temperature).losses)


def nt_xent_by_loops(view0, view1, temperature):
    z = np.concatenate([view0, view1])
    count = len(z)
    total = 0.0
    for i in range(count):
        others = [k for k in range(count) if k != i]
        scores = np.array([cosine(z[i], z[k]) / temperature for k in others])
        total += softmax_loss(scores, others.index((i + count // 2) % count))
    return total / count


@pytest.mark.parametrize("shared", [True, False])
def test_info_nce_is_its_formula(random, shared):
    query, positive = random.normal(size=[2, 5, 3])
    negatives = random.normal(size=[7, 3] if shared else [5, 7, 3])
    expected, found = [], []
    for i in range(5):
        own = negatives if shared else negatives[i]
        scores = [cosine(query[i], positive[i])] + [cosine(query[i], n) for n in own]
        found.append(np.argmax(scores) == 0)
        expected.append(softmax_loss(np.array(scores) / 0.3, 0))
    received, hits, _ = losses.info_nce(query, positive, negatives, temperature=0.3)
    np.testing.assert_array_equal(hits, found)
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-10)


def test_nce_is_its_formula(random):
    query, positive, negative = random.normal(size=[3, 6, 4])
    expected = [
        softmax_loss(np.array([cosine(q, p), cosine(q, n)]) / 0.2, 0)
        for q, p, n in zip(query, positive, negative, strict=True)
    ]
    received = losses.nce(query, positive, negative, temperature=0.2).losses
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-10)


def test_any_similarity_can_replace_the_cosine(random):
    query, positive = random.normal(size=[2, 5, 3])
    negatives = random.normal(size=[7, 3])

    def closeness(a, b):
        return -tf.reduce_sum(tf.square(a[..., :, None, :] - b[..., None, :, :]), axis=-1)

    expected = []
    for q, p in zip(query, positive, strict=True):
        scores = [-np.sum((q - p) ** 2)] + [-np.sum((q - n) ** 2) for n in negatives]
        expected.append(softmax_loss(np.array(scores), 0))
    received = losses.info_nce(
        query, positive, negatives, temperature=1.0, similarity=closeness
    ).losses
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-10)


def test_nt_xent_is_the_mean_over_all_views(random):
    view0, view1 = random.normal(size=[2, 6, 4])
    received = mean_nt_xent(view0, view1, temperature=0.5)
    np.testing.assert_allclose(received, nt_xent_by_loops(view0, view1, 0.5), rtol=0, atol=1e-10)


def test_the_gradient_of_nt_xent_is_that_of_its_formula(random):
    """Closed form: dL/dS = (softmax - one hot) / 2B, through the cosine by hand."""
    views = random.normal(size=[2, 5, 4])
    tau, count = 0.5, 10
    z = views.reshape(count, 4)
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    unit = z / norm
    scores = unit @ unit.T / tau
    np.fill_diagonal(scores, -np.inf)
    right = np.eye(count)[(np.arange(count) + 5) % count]
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    slope = (softmax - right) / count / tau
    by_unit = slope @ unit + slope.T @ unit
    expected = (by_unit - unit * np.sum(by_unit * unit, axis=1, keepdims=True)) / norm

    views = tf.constant(views)
    with tf.GradientTape() as tape:
        tape.watch(views)
        loss = mean_nt_xent(views[0], views[1], temperature=tau)
    received = tf.reshape(tape.gradient(loss, views), [count, 4])
    np.testing.assert_allclose(received, expected, rtol=0, atol=1e-10)
    by_differences = gradient_of(lambda v: nt_xent_by_loops(v[0], v[1], tau), views.numpy())
    np.testing.assert_allclose(received, by_differences.reshape(count, 4), rtol=0, atol=1e-8)


@pytest.mark.parametrize("candidates", [2, 10, 1000])
def test_equal_scores_cost_the_logarithm_of_their_number(candidates):
    loss = losses.softmax_over_candidates(
        [0, 1], tf.zeros([2, candidates], tf.float64), 0.07
    ).losses
    np.testing.assert_allclose(loss, np.log(candidates), rtol=0, atol=1e-12)


def test_a_candidate_at_minus_infinity_counts_for_nothing():
    scores = tf.constant([[0.0, -np.inf, 0.0, -np.inf]], tf.float64)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = losses.softmax_over_candidates([2], scores, 0.1).losses
    np.testing.assert_allclose(loss, [np.log(2)], atol=1e-12)
    np.testing.assert_allclose(tape.gradient(loss, scores), [[5, 0, -5, 0]], atol=1e-12)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_scores_give_a_float32_loss(dtype):
    loss = losses.softmax_over_candidates([0], tf.cast([[1.0, -1.0, 0.5]], dtype), 0.01).losses
    assert loss.dtype == tf.float32
    np.testing.assert_allclose(loss, [np.log1p(np.exp(-50.0))], atol=1e-6)


def test_a_zero_vector_stays_finite_in_value_and_gradient():
    views = tf.zeros([2, 3, 4])
    with tf.GradientTape() as tape:
        tape.watch(views)
        loss = mean_nt_xent(views[0], views[1], temperature=0.1)
    np.testing.assert_allclose(loss, np.log(5), atol=1e-6)
    assert np.all(np.isfinite(tape.gradient(loss, views)))


@pytest.mark.parametrize("temperature", [0, -0.1, float("nan"), "warm", None])
def test_a_temperature_must_be_above_zero(temperature):
    with pytest.raises(ValueError, match="temperature must be a number above 0; received"):
        losses.nt_xent(np.eye(3), np.eye(3), temperature=temperature)


def test_negatives_of_another_rank_are_refused():
    with pytest.raises(ValueError, match=r"received shape \(4,\)"):
        losses.info_nce(np.ones([2, 4]), np.ones([2, 4]), np.ones([4]))
