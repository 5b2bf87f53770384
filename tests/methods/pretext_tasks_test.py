"""RotNet, RelativePosition and Jigsaw: their losses are right, and their tasks are learned."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import methods, views
from tests.tiny import tiny_encoder

CHANCE = {"RotNet": 4, "RelativePosition": 8, "Jigsaw": 6}
OPTIONS = {"Jigsaw": {"num_permutations": 6}}


def tiny(name, image_size=24, **options):
    keras.utils.set_random_seed(0)
    method = getattr(methods, name)
    made = method.default_views(image_size, channels=1, **OPTIONS.get(name, {}))
    model = method(tiny_encoder(), views=made, **options)
    model.compile(keras.optimizers.Adam(0.01))
    return model


@pytest.fixture(scope="module")
def slopes():
    """uint8 [64, 24, 24, 1]: brighter to the right and downwards, so that pixels show positions."""
    draws = np.random.default_rng(0)
    down, right = np.mgrid[:24, :24] / 23
    images = 60 * right + 150 * down + draws.uniform(0, 40, [64, 1, 1])
    return np.clip(images + draws.normal(0, 2, [64, 24, 24]), 0, 255).astype("uint8")[..., None]


@pytest.mark.parametrize("name", CHANCE)
def test_the_loss_is_the_cross_entropy_of_the_answer(name, slopes, float64):
    model = tiny(name)
    batch = model.make_batch({"image": slopes[:6]}, seed=0, step=0)
    shown, answer = batch["views"]
    flat = tf.reshape(shown, [-1, *shown.shape[2:]])
    features = model.encoder(flat, training=True).numpy()
    if name != "RotNet":
        features = features.reshape(6, shown.shape[1], -1)
    logits = model.head(features, training=True).numpy()
    answer = np.ravel(answer)
    each = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(answer)), answer]
    received = model.objective(batch, training=True)
    np.testing.assert_allclose(received.loss, each.mean(), rtol=0, atol=1e-10)
    np.testing.assert_array_equal(received.hits[:, 0], logits.argmax(axis=1) == answer)


@pytest.mark.parametrize("name", CHANCE)
def test_it_is_learned_far_above_chance(name, slopes):
    model = tiny(name)
    untrained = model.evaluate(slopes, batch_size=32, verbose=0, return_dict=True)
    assert untrained["loss"] == pytest.approx(np.log(CHANCE[name]), abs=1.0)
    model.fit(slopes, batch_size=16, epochs=30, verbose=0)
    learned = model.evaluate(slopes, batch_size=32, verbose=0, return_dict=True)
    assert learned["accuracy"] > 2 / CHANCE[name]


def test_jigsaw_needs_permutations():
    with pytest.raises(ValueError, match="views that draw one of several orders"):
        methods.Jigsaw(tiny_encoder(), views=views.jigsaw(24, 1))
