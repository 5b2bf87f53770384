"""The losses of two sides, against NumPy, in value and gradient, on one and two replicas."""

import numpy as np
import pytest
import tensorflow as tf

from cl_keras import distribute
from cl_keras.losses.two_sided import clip, siglip
from tests.complex_step import gradients


def unit(x):
    return x / np.sqrt((x * x).sum(axis=1, keepdims=True))


def clip_by_hand(first, second, scale):
    scores = scale * unit(first) @ unit(second).T
    loss = 0
    for i in range(len(first)):
        loss += np.log(np.exp(scores[i]).sum()) - scores[i, i]
        loss += np.log(np.exp(scores[:, i]).sum()) - scores[i, i]
    return loss / 2 / len(first)


def siglip_by_hand(first, second, scale, bias):
    logits = scale * unit(first) @ unit(second).T + bias
    signs = 2 * np.eye(len(first)) - 1
    return -np.log(1 / (1 + np.exp(-signs * logits))).sum() / len(first)


def clip_loss(first, second, scale):
    forth, back = clip(first, second, scale)
    return 0.5 * (tf.reduce_mean(forth.losses) + tf.reduce_mean(back.losses))


def siglip_loss(first, second, scale, bias):
    return tf.reduce_mean(siglip(first, second, scale, bias).losses)


CASES = {"clip": (clip_loss, clip_by_hand, 1), "siglip": (siglip_loss, siglip_by_hand, 2)}


@pytest.fixture
def sides(random):
    return [random.normal(size=[6, 4]), random.normal(size=[6, 4])]


@pytest.mark.parametrize("name", CASES)
def test_losses_are_their_formulas_in_value_and_gradient(name, sides):
    loss_of, by_hand, scalars = CASES[name]
    parameters = [*sides, np.array(3.0), np.array(-1.5)][: 2 + scalars]
    variables = [tf.Variable(p) for p in parameters]
    with tf.GradientTape() as tape:
        loss = loss_of(*variables)
    np.testing.assert_allclose(loss, by_hand(*parameters), rtol=0, atol=1e-12)
    expected = gradients(by_hand, parameters)
    for received, slope in zip(tape.gradient(loss, variables), expected, strict=True):
        np.testing.assert_allclose(received, slope, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_two_replicas_equal_one(name, sides, mirrored):
    loss_of, by_hand, scalars = CASES[name]
    more = [tf.constant(3.0, tf.float64), tf.constant(-1.5, tf.float64)][:scalars]
    expected = gradients(lambda a, b: by_hand(a, b, *[m.numpy() for m in more]), sides)

    @tf.function
    def run():
        def one():
            first = distribute.first_row(3)
            own = [tf.constant(side)[first : first + 3] for side in sides]
            with tf.GradientTape() as tape:
                tape.watch(own)
                share = loss_of(*own, *more) / distribute.num_replicas()
            slopes = tape.gradient(share, own)
            return distribute.sum_over_replicas(share), [distribute.gather(s) for s in slopes]

        return mirrored.run(one)

    loss, slopes = run()
    local = mirrored.experimental_local_results
    np.testing.assert_allclose(
        local(loss)[0], by_hand(*sides, *[m.numpy() for m in more]), rtol=0, atol=1e-12
    )
    for received, slope in zip(slopes, expected, strict=True):
        np.testing.assert_allclose(local(received)[0], slope, rtol=0, atol=1e-12)


def test_hits_are_partners_that_are_nearest():
    first = tf.constant([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    second = tf.constant([[1.0, 0.1], [1.0, 0.9], [0.9, 1.0]])
    assert siglip(first, second, 1.0, 0.0).hits.numpy().tolist() == [True, False, False]
    forth, back = clip(first, second, 1.0)
    assert forth.hits.numpy().tolist() == [True, False, False]
    assert back.hits.numpy().tolist() == [True, False, True]
