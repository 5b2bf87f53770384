import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import losses
from cl_keras.methods import TwoTower
from tests.tiny import VIEWS, tiny_encoder


def other_tower(width=5):
    inputs = keras.Input([3])
    return keras.Model(inputs, keras.layers.Dense(width, activation="tanh")(inputs))


def tiny_tower(**options):
    keras.utils.set_random_seed(0)
    model = TwoTower(tiny_encoder(), other_tower(), **options)
    model.compile(keras.optimizers.SGD(0.1))
    return model


@pytest.fixture
def pairs(images, random):
    return {"image": images, "other": random.normal(size=[32, 3])}


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
def test_the_loss_is_its_formula_at_its_start(pairs, loss, float64):
    model = tiny_tower(loss=loss)
    x = unit(model.embed(pairs["image"], training=True).numpy())
    y = unit(model.embed_other(pairs["other"], training=True).numpy())
    if loss == "softmax":
        scores = x @ y.T / 0.07
        forth, back = (np.log(np.exp(s).sum(axis=1)) - np.diag(s) for s in (scores, scores.T))
        expected = (forth.mean() + back.mean()) / 2
    else:
        signs = 2 * np.eye(32) - 1
        expected = np.log1p(np.exp(-signs * (10 * x @ y.T - 10))).sum() / 32
    received = model.objective(model.make_batch(pairs, seed=0, step=0), training=True)
    np.testing.assert_allclose(received.loss, expected, rtol=0, atol=1e-7)


def test_with_one_encoder_and_two_views_it_is_simclr_without_negatives_within_a_view(
    images, float64
):
    model = tiny_tower()
    model.other_encoder, model.other_head = model.encoder, model.head
    view0, view1 = VIEWS(images, seed=0, step=0)
    batch = {"views": (view0,), "other": view1}
    received = model.objective(batch, training=True).loss
    z0, z1 = (model.embed(view, training=True).numpy() for view in (view0, view1))
    total = 0
    for queries, keys in ((z0, z1), (z1, z0)):
        for i in range(32):
            negatives = np.delete(keys, i, axis=0)
            query, positive = queries[i : i + 1], keys[i : i + 1]
            each = losses.info_nce(query, positive, negatives, temperature=0.07)
            total += float(np.mean(each[0] if isinstance(each, tuple) else each))
    np.testing.assert_allclose(received, total / 64, rtol=0, atol=1e-7)


def test_both_towers_and_the_scale_learn(pairs):
    model = tiny_tower()
    before = [v.numpy() for v in model.trainable_variables]
    batches = tf.data.Dataset.from_tensor_slices(pairs).batch(16)
    history = model.fit(batches, epochs=8, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert set(history) == {"loss", "recall_at_1"}
    for old, variable in zip(before, model.trainable_variables, strict=True):
        assert np.abs(old - variable.numpy()).max() > 0, variable.path


def test_views_of_the_other_side_are_drawn_independently(images):
    one_view = lambda images, **draw: VIEWS(images, **draw)[:1]  # noqa: E731
    model = TwoTower(tiny_encoder(), tiny_encoder(), views=one_view, other_views=one_view)
    batch = model.make_batch({"image": images, "other": images}, seed=0, step=0)
    assert np.abs(batch["views"][0] - batch["other"]).max() > 1


def test_what_does_not_fit_is_refused(images):
    with pytest.raises(ValueError, match="loss must be one of .* received 'hinge'"):
        tiny_tower(loss="hinge")
    with pytest.raises(ValueError, match="vectors of the same width; received"):
        TwoTower(
            tiny_encoder(),
            other_tower(),
            other_head=keras.Sequential([keras.Input([5]), keras.layers.Dense(7)]),
        )
    with pytest.raises(ValueError, match='TwoTower needs pairs: elements of {"image", "other"}'):
        tiny_tower().fit(images, batch_size=8, verbose=0)
