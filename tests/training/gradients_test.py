"""A step of the optimizer on two replicas equals that on one."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import distribute
from cl_keras.training import gradients
from tests.tiny import tiny_simclr

SLOPES = np.array([[3.0, -4.0, 0.5], [1.0, 2.0, -8.0]])
"""Of two replicas; their sum has the norm 8.08."""

CLIPS = [{"clipnorm": 2.0}, {"global_clipnorm": 2.0}, {"clipvalue": 3.0}, {}]


def step(strategy, optimizer, slopes):
    """The values of a variable of zeros after the step, on every replica."""
    with strategy.scope():
        variable = keras.Variable(np.zeros(3), dtype="float64")
        optimizer.build([variable])

    @tf.function
    def run():
        def one():
            row = distribute.first_row(1)
            share = tf.constant(slopes)[row]
            gradients.apply(optimizer, [share], [variable])

        strategy.run(one)

    run()
    copies = getattr(variable.value, "values", [variable.value])
    return [copy.numpy() for copy in copies]


@pytest.mark.parametrize("clip", CLIPS, ids=str)
@pytest.mark.parametrize("scaled", [False, True])
def test_clipping_takes_the_gradient_of_all_replicas(mirrored, clip, scaled):
    with mirrored.scope():
        optimizer = keras.optimizers.SGD(1.0, **clip)
        slopes = SLOPES
        if scaled:
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1024.0)
            slopes = SLOPES * 1024
    received = step(mirrored, optimizer, slopes)
    total = SLOPES.sum(axis=0)
    if "clipvalue" in clip:
        total = np.clip(total, -3, 3)
    elif clip:
        total = total * 2 / np.linalg.norm(total)
    np.testing.assert_allclose(received[0], -total, rtol=1e-7)
    np.testing.assert_array_equal(received[0], received[1])


@pytest.mark.parametrize("replica", [0, 1])
@pytest.mark.parametrize("clip", [{}, {"global_clipnorm": 2.0}], ids=str)
def test_an_infinity_on_any_replica_skips_the_step(mirrored, replica, clip):
    """Keras checks only the first replica; the weights of the other would be lost."""
    slopes = SLOPES.copy()
    slopes[replica, 1] = np.inf
    with mirrored.scope():
        inner = keras.optimizers.SGD(1.0, **clip)
        optimizer = keras.optimizers.LossScaleOptimizer(inner, initial_scale=1024.0)
    for copy in step(mirrored, optimizer, slopes):
        np.testing.assert_array_equal(copy, 0.0)
    assert [float(v) for v in optimizer.dynamic_scale.value.values] == [512.0, 512.0]
    for copy in step(mirrored, optimizer_of(mirrored), SLOPES * 512):
        np.testing.assert_allclose(copy, -SLOPES.sum(axis=0))


def optimizer_of(strategy):
    with strategy.scope():
        return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1.0), initial_scale=512.0)


def test_variables_without_a_gradient_are_left_alone(mirrored):
    with mirrored.scope():
        used, unused = (keras.Variable(np.zeros(3), dtype="float64") for _ in range(2))
        optimizer = keras.optimizers.SGD(1.0, global_clipnorm=2.0)
        optimizer.build([used, unused])

    @tf.function
    def run():
        def one():
            share = tf.constant(SLOPES)[distribute.first_row(1)]
            gradients.apply(optimizer, [share, None], [used, unused])

        mirrored.run(one)

    run()
    total = SLOPES.sum(axis=0)
    np.testing.assert_allclose(used.numpy(), -total * 2 / np.linalg.norm(total))
    np.testing.assert_array_equal(unused.numpy(), 0.0)


def test_an_optimizer_that_accumulates_is_refused_under_a_strategy(mirrored, images):
    with mirrored.scope():
        optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=2)
        model = tiny_simclr(optimizer)
    message = "gradient_accumulation_steps=2. Give .* gradient_accumulation=2 instead"
    with pytest.raises(ValueError, match=message):
        model.fit(images, batch_size=16, verbose=0)


@pytest.mark.parametrize("micro_batches", [1, 2])
@pytest.mark.parametrize("scaled", [False, True])
def test_the_norm_of_the_gradient_is_that_of_a_plain_step(images, micro_batches, scaled):
    """SGD moves the weights by its rate times the gradient."""
    optimizer = keras.optimizers.SGD(0.5)
    if scaled:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=1024.0)
    model = tiny_simclr(optimizer, gradient_accumulation=micro_batches)
    assert model.last_gradient_norm.value() is None
    before = [v.numpy() for v in model.trainable_variables]
    model.fit(images[:16], batch_size=16, verbose=0)
    moved = [v.numpy() - old for v, old in zip(model.trainable_variables, before, strict=True)]
    expected = np.sqrt(sum(np.sum(np.square(one)) for one in moved)) / 0.5
    np.testing.assert_allclose(model.last_gradient_norm.value(), expected, rtol=1e-4)
    assert not any("norm" in v.name and v.shape == () for v in model.non_trainable_variables)
