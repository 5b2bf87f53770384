"""The layer of convolutions: Keras' own, except in training on a CPU."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import cl_keras as cl
from cl_keras.encoders import convolution
from cl_keras.encoders.convolution import Convolution


def operations(function, *arguments):
    """Types of all operations of a graph, functions that it calls included."""
    graph = tf.function(function).get_concrete_function(*arguments).graph.as_graph_def()
    nodes = [*graph.node, *(node for each in graph.library.function for node in each.node_def)]
    return {node.op for node in nodes}


@pytest.fixture
def images():
    return tf.random.stateless_normal([128, 8, 8, 64], seed=[0, 1])


def test_training_takes_the_fast_form_and_everything_else_the_plain_one(images):
    layer = Convolution(128, 3, padding="same", use_bias=False)
    layer.build(images.shape)
    fast = operations(lambda x: layer(x, training=True), images)
    assert "PyFuncStateless" in fast and "Conv2D" not in fast
    plain = operations(layer, images)
    assert "Conv2D" in plain and "PyFuncStateless" not in plain
    np.testing.assert_allclose(
        layer(images, training=True), layer(images), atol=3e-5 * np.std(layer(images))
    )


def test_xla_takes_the_plain_form(images):
    layer = Convolution(64, 3, padding="same", use_bias=False)
    layer.build(images.shape)
    compiled = tf.function(lambda x: layer(x, training=True), jit_compile=True)
    np.testing.assert_allclose(compiled(images), layer(images), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"use_bias": True},
        {"activation": "relu"},
        {"padding": "valid"},
        {"strides": 2},
        {"dilation_rate": 2},
        {"groups": 2},
        {"kernel_size": 5},
        {"filters": 65},
    ],
    ids=lambda options: "".join(options),
)
def test_other_convolutions_are_those_of_keras(options, images):
    usual = {"filters": 64, "kernel_size": 3, "padding": "same", "use_bias": False}
    layer, theirs = (make(**usual | options) for make in (Convolution, keras.layers.Conv2D))
    layer.build(images.shape)
    theirs.build(images.shape)
    theirs.set_weights(layer.get_weights())
    assert "PyFuncStateless" not in operations(lambda x: layer(x, training=True), images)
    np.testing.assert_array_equal(layer(images, training=True), theirs(images))


@pytest.mark.parametrize("use", [True, False])
def test_the_form_can_be_chosen(use, images, monkeypatch):
    monkeypatch.setattr(convolution, "USE_WINOGRAD", use)
    layer = Convolution(64, 3, padding="same", use_bias=False)
    layer.build(images.shape)
    seen = operations(lambda x: layer(x, training=True), images[:1])
    assert ("PyFuncStateless" in seen) == use


def test_a_step_of_an_encoder_is_the_same_in_both_forms(monkeypatch):
    encoder = cl.encoders.resnet18(image_size=16, width=0.25, channels=1)
    images = tf.random.stateless_uniform([64, 16, 16, 1], seed=[0, 1], maxval=255.0)
    before = encoder.get_weights()

    def step(use):
        monkeypatch.setattr(convolution, "USE_WINOGRAD", use)
        encoder.set_weights(before)

        @tf.function
        def gradients():
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(encoder(images, training=True) ** 2)
            return loss, tape.gradient(loss, encoder.trainable_variables)

        return gradients()

    (loss, fast), (same, plain) = step(True), step(False)
    assert float(loss) == pytest.approx(float(same), rel=1e-5)
    for a, b in zip(fast, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-4 * np.abs(b).max())


def test_two_replicas_have_the_gradient_of_one(mirrored, images):
    with mirrored.scope():
        layer = Convolution(128, 3, padding="same", use_bias=False)
        layer.build(images.shape)

    def gradient(part):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.sin(layer(part, training=True)))
        return tape.gradient(loss, layer.kernel.value)

    @tf.function
    def on_both():
        halves = tf.split(images, 2)
        part = mirrored.experimental_distribute_values_from_function(
            lambda context: halves[context.replica_id_in_sync_group]
        )
        return mirrored.reduce("sum", mirrored.run(gradient, args=(part,)), axis=None)

    expected = gradient(images)
    np.testing.assert_allclose(on_both(), expected, atol=5e-5 * np.abs(expected).max())
