import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import data, views
from cl_keras.methods import SimCLR
from tests.tiny import VIEWS, tiny_encoder, tiny_simclr


def linear_model(width):
    """Encoder and head without a nonlinearity, so that a step fits on a page of NumPy."""
    pixels = keras.Input([6, 6, 1])
    x = keras.layers.Rescaling(1 / 255)(pixels)
    features = keras.layers.Dense(width, use_bias=False)(keras.layers.Flatten()(x))
    encoder = keras.Model(pixels, features)
    inputs = keras.Input([width])
    head = keras.Model(inputs, keras.layers.Dense(4, use_bias=False)(inputs))
    return encoder, head


def step_by_hand(pixels, first, second, tau, rate):
    """One SGD step of SimCLR on rows `pixels` [2B, P]: the new weights, and the loss."""
    hidden = pixels @ first
    z = hidden @ second
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    unit = z / norm
    count = len(z)
    scores = unit @ unit.T / tau
    np.fill_diagonal(scores, -np.inf)
    softmax = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    right = (np.arange(count) + count // 2) % count
    loss = -np.log(softmax[np.arange(count), right]).mean()
    slope = (softmax - np.eye(count)[right]) / count / tau
    by_unit = (slope + slope.T) @ unit
    by_z = (by_unit - unit * (by_unit * unit).sum(axis=1, keepdims=True)) / norm
    new_first = first - rate * pixels.T @ (by_z @ second.T)
    return new_first, second - rate * hidden.T @ by_z, loss


def test_one_step_is_the_paper_in_numpy(random, float64):
    encoder, head = linear_model(5)
    two = views.simclr(6, channels=1)
    model = SimCLR(encoder, head=head, views=two, temperature=0.5, seed=4)
    model.compile(keras.optimizers.SGD(0.1))
    images = random.integers(0, 256, [8, 6, 6, 1]).astype("uint8")
    first, second = (v.numpy() for v in model.trainable_variables)

    history = model.fit(images, batch_size=8, epochs=1, verbose=0)

    batch = next(iter(data.load(images).batches(8, seed=4)))["image"]  # in the order of fit
    rows = np.concatenate([v.numpy() for v in two(batch, seed=4, step=0)])
    rows = rows.reshape(16, 36).astype(np.float64) / 255
    *expected, loss = step_by_hand(rows, first, second, 0.5, 0.1)
    for received, wanted in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=0, atol=1e-10)
    np.testing.assert_allclose(history.history["loss"], [loss], rtol=0, atol=1e-10)


def dataset(images, batch=16):
    index = np.arange(len(images))
    pairs = tf.data.Dataset.from_tensor_slices({"image": images, "index": index})
    return pairs.batch(batch, drop_remainder=True)


def test_gradients_on_two_devices_equal_those_on_one(images, float64, mirrored):
    """SGD with rate 1 and no momentum: the step is the gradient."""

    def gradient(model):
        model.compile(keras.optimizers.SGD(1.0))
        before = [v.numpy() for v in model.trainable_variables]
        model.fit(dataset(images[:16]), verbose=0)
        pairs = zip(before, model.trainable_variables, strict=True)
        return [b - v.numpy() for b, v in pairs]

    alone = gradient(tiny_simclr())
    with mirrored.scope():
        model = tiny_simclr()
    for received, expected in zip(gradient(model), alone, strict=True):
        np.testing.assert_allclose(received, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("head, dense_layers", [("v1", 2), ("v2", 3)])
def test_heads_by_name(head, dense_layers):
    model = SimCLR(tiny_encoder(), head=head, views=VIEWS)
    dense = [layer for layer in model.head.layers if isinstance(layer, keras.layers.Dense)]
    assert [layer.units for layer in dense] == [16] * (dense_layers - 1) + [128]
    assert model.head.layers[-1].beta is None


@pytest.mark.parametrize(
    "head, message",
    [
        ("v3", "must be one of .* received 'v3'"),
        (lambda: linear_model(5)[1], "must take the 16 features .* it takes 5"),
    ],
)
def test_a_wrong_head_is_refused(head, message):
    with pytest.raises(ValueError, match=message):
        SimCLR(
            tiny_encoder(),
            head=head() if callable(head) else head,
            views=VIEWS,
        )
