import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import data
from cl_keras.methods.swav import SwAV
from cl_keras.views import simclr, swav
from tests.tiny import tiny_encoder

CROPS = swav(12, 1, small_views=1, crop_area=[(0.4, 1.0), (0.4, 1.0), (0.1, 0.4)])
"""Shared, so that its compiled function is compiled once."""


def tiny_swav(optimizer=None, **options):
    keras.utils.set_random_seed(0)
    options = {"num_prototypes": 10, "frozen_steps": 0, "views": CROPS, "seed": 1} | options
    model = SwAV(tiny_encoder(), **options)
    model.compile(optimizer or keras.optimizers.SGD(0.05))
    return model


def one_batch(images):
    return tf.data.Dataset.from_tensors({"image": images})


def linear_model(width=5, dim=4):
    """Encoder and head without a nonlinearity, for images of any size."""
    pixels = keras.Input([None, None, 1])
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(width, 2, use_bias=False)(x)
    encoder = keras.Model(pixels, keras.layers.GlobalAveragePooling2D()(x))
    inputs = keras.Input([width])
    head = keras.Model(inputs, keras.layers.Dense(dim, use_bias=False)(inputs))
    return encoder, head


def mean_patches(view):
    """[b, 4]: the mean of all patches of 2×2 pixels; the linear model depends only on it."""
    x = view.numpy()[..., 0].astype(np.float64) / 255
    size = x.shape[1]
    corners = [x[:, i : size - 1 + i, j : size - 1 + j] for i in range(2) for j in range(2)]
    return np.stack([corner.mean(axis=(1, 2)) for corner in corners], axis=1)


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def codes_of(scores, epsilon=0.05, iterations=3):
    q = np.exp(scores / epsilon)
    for _ in range(iterations):
        q = q / q.sum(axis=0, keepdims=True)
        q = q / q.sum(axis=1, keepdims=True)
    return q


def log_softmax(x):
    x = x - x.max(axis=1, keepdims=True)
    return x - np.log(np.exp(x).sum(axis=1, keepdims=True))


def loss_and_slopes(scores, codes, tau):
    """By pairs of a code and another view; scores and gradients `[V][b, K]`."""
    pairs = [(t, s) for t in range(2) for s in range(len(scores)) if s != t]
    share = 1.0 / len(pairs) / len(scores[0])
    loss, slopes = 0.0, [np.zeros_like(one) for one in scores]
    for t, s in pairs:
        logs = log_softmax(scores[s] / tau)
        loss -= (codes[t] * logs).sum() * share
        slopes[s] += (np.exp(logs) - codes[t]) * share / tau
    return loss, slopes


def test_one_step_is_the_paper_in_numpy(images, float64):
    encoder, head = linear_model()
    keras.utils.set_random_seed(0)
    model = SwAV(
        encoder, head=head, views=CROPS, num_prototypes=6, frozen_steps=0, temperature=0.2, seed=4
    )
    model.compile(keras.optimizers.SGD(0.1))
    first, second, prototypes = (v.numpy() for v in model.trainable_variables)
    history = model.fit(one_batch(images[:16]), verbose=0).history

    x = np.concatenate([mean_patches(view) for view in CROPS(images[:16], seed=4, step=0)])
    hidden = x @ first.reshape(4, 5)
    z = hidden @ second
    scores = unit(z) @ prototypes.T
    by_view = np.split(scores, 3)
    codes = [codes_of(one) for one in by_view[:2]]
    loss, slopes = loss_and_slopes(by_view, codes, 0.2)
    slope = np.concatenate(slopes)
    by_unit = slope @ prototypes
    norm = np.linalg.norm(z, axis=1, keepdims=True)
    by_z = (by_unit - unit(z) * (by_unit * unit(z)).sum(axis=1, keepdims=True)) / norm
    expected = [
        first - 0.1 * (x.T @ (by_z @ second.T)).reshape(first.shape),
        second - 0.1 * hidden.T @ by_z,
        prototypes - 0.1 * slope.T @ unit(z),
    ]
    np.testing.assert_allclose(history["loss"], [loss], rtol=0, atol=1e-10)
    for received, wanted in zip(model.trainable_variables, expected, strict=True):
        np.testing.assert_allclose(received, wanted, rtol=0, atol=1e-10)


def projections(model, images, step):
    """Unit projections of the views of a step, without changing the model."""
    views = CROPS(images, seed=1, step=step)
    state = [v.numpy() for v in model.variables]
    z = [unit(one.numpy()) for one in model.encode_views(views, training=True)]
    for variable, value in zip(model.variables, state, strict=True):
        variable.assign(value)
    return z


@pytest.mark.parametrize("from_step, joins", [(2, True), (3, False)])
def test_a_full_queue_is_used_for_the_codes_from_its_step_on(images, float64, from_step, joins):
    """A queue of 20 rows is full after two steps of 12; the third step's loss shows its use."""
    model = tiny_swav(queue_size=20, queue_from_step=from_step)
    batches = [images[:12], images[12:24], images[20:]]
    seen = []
    for step, batch in enumerate(batches):
        seen.append(projections(model, batch, step))
        prototypes = unit(model.prototypes.rows.numpy())
        loss = model.fit(one_batch(batch), verbose=0).history["loss"][0]
        scores = [z @ prototypes.T for z in seen[-1]]
        codes = []
        for view in range(2):
            before = np.concatenate([z[view] for z in seen[:-1]])[-20:] if seen[1:] else None
            full = step == 2 and joins
            company = (
                np.concatenate([before @ prototypes.T, scores[view]]) if full else scores[view]
            )
            codes.append(codes_of(company)[-12:])
        expected, _ = loss_and_slopes(scores, codes, 0.1)
        np.testing.assert_allclose(loss, expected, rtol=0, atol=1e-10)
    for view, queue in enumerate(model.queues):
        newest = np.concatenate([z[view] for z in seen])[-20:]
        np.testing.assert_allclose(
            np.roll(queue.keys, -(36 % 20), axis=0), newest, rtol=0, atol=1e-10
        )


def test_prototypes_learn_only_after_the_frozen_steps(images):
    model = tiny_swav(keras.optimizers.AdamW(0.05, weight_decay=0.1), frozen_steps=2)
    model.prototypes.normalize_rows()
    start = model.prototypes.rows.numpy()
    for _ in range(2):
        model.fit(one_batch(images[:16]), verbose=0)
        rows = unit(model.prototypes.rows.numpy())
        np.testing.assert_allclose(rows, start, rtol=0, atol=2e-7)
    model.fit(one_batch(images[:16]), verbose=0)
    assert np.abs(unit(model.prototypes.rows.numpy()) - start).max() > 0.01


def test_the_loss_leaves_the_log_of_the_prototypes(images):
    """A model that distinguishes nothing stays at ln K. These views hardly differ."""
    views = simclr(12, channels=1, crop_area=(0.8, 1.0), brightness=0.1, contrast=0.1)
    model = tiny_swav(keras.optimizers.Adam(3e-3), views=views, frozen_steps=10)
    losses = model.fit(images, batch_size=32, epochs=60, verbose=0).history["loss"]
    assert np.mean(losses[-5:]) < 0.7 * np.log(10)


def test_the_defaults_are_the_papers():
    model = SwAV(tiny_encoder(), views=CROPS)
    config = model.get_config()
    names = ("num_prototypes", "epsilon", "iterations", "frozen_steps", "temperature")
    assert [config[name] for name in names] == [3000, 0.05, 3, 313, 0.1]
    assert model.head.output_shape[-1] == 128


def test_more_prototypes_than_batch_and_queue_are_refused(images):
    message = (
        "10 prototypes are more than the batch of 4 and the queue of 5 .* at most 9, .* least 6"
    )
    with pytest.raises(ValueError, match=message):
        tiny_swav(queue_size=5).fit(data.load(images), batch_size=4, verbose=0)
    with pytest.raises(ValueError, match=message):
        tiny_swav(queue_size=5).fit(one_batch(images[:4]), verbose=0)


def test_one_view_is_refused():
    with pytest.raises(ValueError, match="at least 2 views"):
        SwAV(tiny_encoder(), views=lambda images, **draw: images)
