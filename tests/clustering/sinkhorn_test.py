import numpy as np
import pytest
import tensorflow as tf

from cl_keras.clustering import sinkhorn


def plain(scores, epsilon, iterations):
    """Algorithm 1 of the paper's appendix, on the whole matrix."""
    q = np.exp(np.asarray(scores, np.float64) / epsilon).T  # [K, B]
    q /= q.sum()
    count, batch = q.shape
    for _ in range(iterations):
        q = q / q.sum(axis=1, keepdims=True) / count
        q = q / q.sum(axis=0, keepdims=True) / batch
    return (q * batch).T


def in_logs(scores, epsilon, iterations):
    """The same in logarithms, for values whose exp exceeds the range of float64."""
    log_q = np.asarray(scores, np.float64) / epsilon
    for _ in range(iterations):
        log_q = log_q - np.logaddexp.reduce(log_q, axis=0, keepdims=True)
        log_q = log_q - np.logaddexp.reduce(log_q, axis=1, keepdims=True)
    return np.exp(log_q)


@pytest.mark.parametrize("iterations", [1, 2, 3, 20])
@pytest.mark.parametrize("shape", [(12, 5), (7, 30)])
def test_it_is_the_plain_iteration(random, iterations, shape):
    scores = random.uniform(-1, 1, shape)
    received = sinkhorn(scores, iterations=iterations)
    assert received.dtype == tf.float64
    np.testing.assert_allclose(received, plain(scores, 0.05, iterations), rtol=0, atol=1e-12)
    received = sinkhorn(scores.astype("float32"), iterations=iterations)
    np.testing.assert_allclose(received, plain(scores, 0.05, iterations), rtol=0, atol=2e-5)


def test_rows_sum_to_one_and_columns_alike(random):
    codes = sinkhorn(random.uniform(-0.3, 0.3, [24, 6]), iterations=100).numpy()
    np.testing.assert_allclose(codes.sum(axis=1), np.ones(24), rtol=0, atol=1e-12)
    np.testing.assert_allclose(codes.sum(axis=0), np.full(6, 4.0), rtol=0, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_as_exact_as_its_input(random, dtype):
    scores = tf.cast(random.uniform(-1, 1, [40, 30]), dtype)
    received = sinkhorn(scores)
    assert received.dtype == tf.float32
    expected = plain(tf.cast(scores, tf.float64), 0.05, 3)
    np.testing.assert_allclose(received, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("epsilon", [0.05, 1e-2, 1e-3])
def test_neither_a_far_row_nor_a_far_column_breaks_it(random, epsilon):
    """Far even for float32: with the smaller ε, exp(S/ε) is 0 everywhere there."""
    scores = random.uniform(0.5, 1, [12, 8]).astype("float32")
    scores[3], scores[:, 2] = -1.0, -1.0
    received = sinkhorn(scores, epsilon=epsilon)
    np.testing.assert_allclose(received, in_logs(scores, epsilon, 3), rtol=0, atol=1e-3)
    np.testing.assert_allclose(tf.reduce_sum(received, axis=1), np.ones(12), rtol=0, atol=1e-5)


@pytest.mark.parametrize("epsilon", [0.05, 1e-2])
def test_scores_beyond_cosines_stay_finite(random, epsilon):
    codes = sinkhorn(100 * random.normal(size=[12, 8]).astype("float32"), epsilon=epsilon)
    np.testing.assert_allclose(tf.reduce_sum(codes, axis=1), np.ones(12), rtol=0, atol=1e-5)


def test_equal_scores_give_equal_codes():
    np.testing.assert_allclose(sinkhorn(tf.zeros([6, 4])), np.full([6, 4], 0.25), rtol=1e-6)


@pytest.mark.parametrize("epsilon", [0.05, 0.02])
def test_the_batch_spans_all_replicas(random, mirrored, epsilon):
    scores = random.uniform(-1, 1, [10, 7])

    def local(context):
        begin = 5 * context.replica_id_in_sync_group
        return tf.constant(scores[begin : begin + 5])

    values = mirrored.experimental_distribute_values_from_function(local)
    codes = tf.function(lambda local: sinkhorn(local, epsilon=epsilon))
    received = tf.concat(mirrored.run(codes, args=[values]).values, 0)
    np.testing.assert_allclose(received, plain(scores, epsilon, 3), rtol=0, atol=1e-12)


def test_no_gradient_flows_through():
    scores = tf.constant([[0.1, 0.2], [0.3, -0.1]])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        codes = tf.reduce_sum(tf.square(sinkhorn(scores)))
    assert tape.gradient(codes, scores) is None


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"epsilon": 0.0}, "epsilon .* received 0.0"),
        ({"iterations": 0}, "iterations .* received 0"),
    ],
)
def test_values_out_of_range_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        sinkhorn(tf.zeros([2, 2]), **wrong)
