import numpy as np
import pytest
import tensorflow as tf

from cl_keras import distribute, losses
from cl_keras.negatives import in_batch
from cl_keras.training.objective import mean_over
from tests.complex_step import gradients


def sup_con_by_loops(z, labels, tau):
    """Khosla et al. 2020, equation 2, literally, for V·B rows; the mean over those that count."""
    z = z / np.sqrt((z * z).sum(axis=1, keepdims=True))
    images = len(labels)
    total, count = 0.0, 0
    for i in range(len(z)):
        others = [a for a in range(len(z)) if a != i]
        own, label = i % images, labels[i % images]
        positives = [
            p for p in others if p % images == own or (label >= 0 and labels[p % images] == label)
        ]
        denominator = sum(np.exp((z[i] * z[a]).sum() / tau) for a in others)
        each = [np.log(np.exp((z[i] * z[p]).sum() / tau) / denominator) for p in positives]
        total, count = total - sum(each) / len(each), count + 1
    return total / count


def sup_con(views, labels, tau):
    """The loss as a method with two views would write it."""
    _, scores = in_batch(*views)
    return losses.softmax_over_positives(losses.positives_in_batch(labels), scores, tau)


def test_value_and_gradient_are_the_papers(random):
    views, labels = random.normal(size=[2, 5, 3]), np.array([1, 0, -1, 1, -1])
    tensor = tf.constant(views)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        loss = mean_over(sup_con(tf.unstack(tensor), tf.constant(labels), 0.4)).loss

    def by_loops(views):
        return sup_con_by_loops(views.reshape(10, 3), labels, 0.4)

    np.testing.assert_allclose(loss, by_loops(views), rtol=0, atol=1e-12)
    (slope,) = gradients(by_loops, [views])
    np.testing.assert_allclose(tape.gradient(loss, tensor), slope, rtol=0, atol=1e-12)


@pytest.mark.parametrize("labels", [[-1, -1, -1, -1], [3, 1, 2, 0]])
def test_without_shared_labels_it_equals_simclr(random, labels):
    views = tf.unstack(tf.constant(random.normal(size=[2, 4, 3])))
    received = sup_con(views, tf.constant(labels), 0.2)
    expected = losses.nt_xent(*views, temperature=0.2)
    np.testing.assert_allclose(received.losses, expected.losses, rtol=0, atol=1e-12)
    np.testing.assert_array_equal(received.hits, expected.hits)


def test_a_query_without_positives_contributes_nothing_to_loss_or_gradient(random):
    scores = tf.constant(random.uniform(-1, 1, [3, 4]))
    positives = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 1]], bool)
    with tf.GradientTape() as tape:
        tape.watch(scores)
        found = losses.softmax_over_positives(positives, scores, 0.3)
        loss = mean_over(found).loss
    logits = scores.numpy() / 0.3
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    expected = -(logs[0, [0, 2]].mean() + logs[2, 3]) / 2
    np.testing.assert_allclose(loss, expected, rtol=0, atol=1e-12)
    slope = tape.gradient(loss, scores).numpy()
    assert np.isfinite(slope).all() and not slope[1].any() and slope[0].any()
    best = scores.numpy().argmax(axis=1)
    np.testing.assert_array_equal(found.hits, positives[np.arange(3), best])
    assert found.counts.numpy().tolist() == [True, False, True]


def test_no_positive_at_all_costs_nothing():
    scores = tf.zeros([2, 3])
    with tf.GradientTape() as tape:
        tape.watch(scores)
        loss = mean_over(losses.softmax_over_positives(tf.zeros([2, 3], bool), scores, 0.1)).loss
    assert loss == 0 and not np.any(tape.gradient(loss, scores))


def test_an_excluded_candidate_is_not_a_positive():
    scores = tf.constant([[0.0, -np.inf, 0.0]], tf.float64)
    found = losses.softmax_over_positives(np.array([[True, True, False]]), scores, 0.1)
    np.testing.assert_allclose(found.losses, [np.log(2)], atol=1e-12)


def test_two_replicas_know_the_labels_of_both(random, mirrored):
    views, labels = random.normal(size=[2, 6, 3]), np.array([0, 1, -1, 1, 0, 0])

    def loss_and_gradient(views, labels):
        with tf.GradientTape() as tape:
            tape.watch(views)
            loss = mean_over(sup_con(tf.unstack(views), labels, 0.3)).loss
            loss /= distribute.num_replicas()
        return loss, tape.gradient(loss, views)

    @tf.function
    def step():
        rows = distribute.first_row(3) + tf.range(3)
        return loss_and_gradient(tf.gather(views, rows, axis=1), tf.gather(labels, rows))

    loss, slope = loss_and_gradient(tf.constant(views), tf.constant(labels))
    shares, slopes = mirrored.run(step)
    np.testing.assert_allclose(sum(shares.values), loss, rtol=0, atol=1e-12)
    np.testing.assert_allclose(np.concatenate(slopes.values, 1), slope, rtol=0, atol=1e-12)
