import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras import data, heads
from cl_keras.losses import tiles
from cl_keras.methods import MoCo, MoCoV3
from tests.tiny import VIEWS, places_in_memory, tiny_encoder


def tiny_moco(**options):
    keras.utils.set_random_seed(0)
    options = {"queue_size": 24, "shuffle_bn_groups": 1, "momentum": 0.9, "head": "v2"} | options
    model = MoCo(tiny_encoder(), views=VIEWS, seed=1, **options)
    model.compile(keras.optimizers.SGD(0.05))
    return model


def tiny_moco_v3(**options):
    keras.utils.set_random_seed(0)
    options = {"hidden_dim": 8, "output_dim": 4, "momentum": 0.9, "momentum_steps": 9} | options
    model = MoCoV3(tiny_encoder(), views=VIEWS, seed=1, **options)
    model.compile(keras.optimizers.SGD(0.05))
    return model


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def cross_entropy(logits, right):
    logits = logits - logits.max(axis=1, keepdims=True)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -logs[np.arange(len(logits)), right]


def test_a_step_of_moco_is_the_paper_in_numpy(images, float64):
    """Loss of the first step, and the queue after it, from q, k and the queue."""
    model, twin = tiny_moco(), tiny_moco()
    batch = images[:16]
    view0, view1 = VIEWS(batch, seed=1, step=0)
    query = unit(twin.head(twin.encoder(view0, training=True)).numpy())
    twin.momentum_encoder.follow(0)
    key = unit(twin.momentum_encoder(view1, training=True).numpy())
    queue = twin.queue.keys.numpy()
    scores = np.concatenate([(query * key).sum(axis=1, keepdims=True), query @ queue.T], axis=1)
    expected = cross_entropy(scores / 0.2, np.zeros(16, int)).mean()

    history = model.fit(tf.data.Dataset.from_tensors({"image": batch}), verbose=0).history
    np.testing.assert_allclose(history["loss"], [expected], rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.queue.keys[:16], key, rtol=0, atol=1e-10)
    np.testing.assert_allclose(model.queue.keys[16:], queue[16:], rtol=0, atol=0)


@pytest.mark.parametrize("plain", [10**9, 0])
def test_no_step_copies_the_queue(images, monkeypatch, plain):
    """Neither with all scores in memory nor with tiles of them."""
    monkeypatch.setattr(tiles, "PLAIN", plain)
    model = tiny_moco()
    dataset = tf.data.Dataset.from_tensor_slices({"image": images}).batch(8, drop_remainder=True)
    assert len(places_in_memory(model, model.queue.keys, dataset)) == 1


def test_a_step_of_moco_v3_is_the_paper_in_numpy(images, float64):
    model, twin = tiny_moco_v3(temperature=0.7), tiny_moco_v3(temperature=0.7)
    batch = images[:16]
    views = VIEWS(batch, seed=1, step=0)
    q0, q1 = (unit(twin._query(view, True).numpy()) for view in views)
    k0, k1 = (unit(twin.momentum_encoder(view, training=True).numpy()) for view in views)
    own = np.arange(16)
    both = cross_entropy(q0 @ k1.T / 0.7, own).mean() + cross_entropy(q1 @ k0.T / 0.7, own).mean()
    history = model.fit(tf.data.Dataset.from_tensors({"image": batch}), verbose=0).history
    np.testing.assert_allclose(history["loss"], [2 * 0.7 * both], rtol=0, atol=1e-10)


def test_the_queue_takes_the_keys_of_five_steps_in_their_order(images, float64):
    model = tiny_moco(queue_size=12)
    batches = tf.data.Dataset.from_tensor_slices({"image": images[:20]}).batch(4, True)
    model.fit(batches, verbose=0)
    assert int(model.queue.pointer) == 20 % 12
    again = tiny_moco(queue_size=12)
    kept = []
    for step, element in enumerate(batches):
        views = VIEWS(element["image"], seed=1, step=step)
        kept.append(unit(key_of(again, views, step)))
        again.fit(tf.data.Dataset.from_tensors(element), verbose=0)
    newest = np.concatenate(kept)[-12:]
    np.testing.assert_allclose(np.roll(model.queue.keys, -8, axis=0), newest, atol=1e-10)


def key_of(model, views, step):
    """The key that the next step will compute, without changing the model."""
    state = [v.numpy() for v in model.variables]
    model.momentum_encoder.follow(step)
    key = model.momentum_encoder(views[1], step=step, training=True).numpy()
    for variable, value in zip(model.variables, state, strict=True):
        variable.assign(value)
    return key


@pytest.mark.parametrize(
    "make, trained",
    [(tiny_moco, ["encoder", "head"]), (tiny_moco_v3, ["encoder", "head", "predictor"])],
)
def test_the_query_is_trained_and_nothing_else(make, trained):
    model = make()
    expected = [v for name in trained for v in getattr(model, name).trainable_variables]
    assert {id(v) for v in model.trainable_variables} == {id(v) for v in expected}


def test_the_versions_of_the_paper():
    first, second = tiny_moco(head="v1"), tiny_moco(head="v2")
    assert (first.temperature, second.temperature) == (0.07, 0.2)
    assert [len(model.head.trainable_variables) for model in (first, second)] == [2, 4]
    assert heads.mlp(2048).count_params() == 2048 * 2048 + 2048 + 2048 * 128 + 128


def test_a_queue_larger_than_the_data_set_is_refused(images):
    with pytest.raises(ValueError, match="queue of 64 keys is larger .* 32 images.* at most 16"):
        tiny_moco(queue_size=64).fit(data.load(images), batch_size=16, verbose=0)


def test_groups_that_do_not_divide_the_batch_are_refused(images):
    with pytest.raises(ValueError, match="shuffle_bn_groups=3 must divide the 16 images"):
        tiny_moco(shuffle_bn_groups=3).fit(images, batch_size=16, verbose=0)


def test_groups_that_replicas_cannot_share_are_refused(images, mirrored):
    with mirrored.scope():
        model = tiny_moco(shuffle_bn_groups=1)
        uneven = tiny_moco(shuffle_bn_groups=5)
    model.check_data(data.load(images).batches(16))
    with pytest.raises(ValueError, match="multiple of the 2 replicas.*give shuffle_bn_groups=6"):
        uneven.check_data(data.load(images).batches(20))


def test_batches_of_unknown_size_are_refused_at_once(images):
    batches = tf.data.Dataset.from_tensor_slices(images).batch(12)
    with pytest.raises(ValueError, match="shuffle_bn_groups=4 .* drop_remainder=True"):
        tiny_moco(shuffle_bn_groups=4).fit(batches, verbose=0)
