"""Methods of tf.data on `Batches`: every epoch keeps its own order."""

import inspect

import numpy as np
import pytest
import tensorflow as tf

from cl_keras.data import Batches, load
from cl_keras.data.batches import repeats_one_order
from cl_keras.data.order import order
from cl_keras.data.transforms import FREEZES, TRANSFORMS


@pytest.fixture
def batches():
    """5 batches of 4 out of 22 images, image i filled with i."""
    array = np.arange(22, dtype=np.uint8).reshape(22, 1, 1) * np.ones([1, 4, 4], np.uint8)
    return load(array, labels=np.arange(22) % 3).batches(4, seed=9)


def drawn(epoch, seed=9):
    """The batches of an epoch, computed from the order alone."""
    return order(seed, epoch, 22).numpy()[:20].reshape(5, 4).tolist()


def indices(dataset):
    return [element["index"].numpy().tolist() for element in dataset]


def add_one(element):
    return {**element, "image": element["image"] + 1}


def test_every_method_of_a_dataset_has_a_rule():
    """A new method of TensorFlow must be added to one of the lists."""
    dataset = tf.data.Dataset
    methods = {
        name
        for name in dir(dataset)
        if not name.startswith("_") and inspect.isfunction(inspect.getattr_static(dataset, name))
    }
    no_dataset = {"as_numpy_iterator", "cardinality", "fingerprint", "get_single_element"}
    no_dataset |= {"options", "reduce", "save"}
    assert methods == TRANSFORMS | FREEZES | no_dataset


@pytest.mark.parametrize(
    "transform",
    [
        lambda b: b.prefetch(1),
        lambda b: b.map(add_one).prefetch(1),
        lambda b: b.map(add_one, num_parallel_calls=2),
        lambda b: b.with_options(tf.data.Options()),
        lambda b: b.apply(tf.data.experimental.assert_cardinality(5)),
        lambda b: b.apply(lambda dataset: dataset.map(add_one)),
        lambda b: b.repeat(),
        lambda b: b.repeat().map(add_one),
        lambda b: b.unbatch().batch(4),
        lambda b: b.filter(lambda e: True).apply(tf.data.experimental.assert_cardinality(5)),
    ],
)
def test_a_transformed_dataset_has_the_order_of_each_epoch(batches, transform):
    dataset = transform(batches)
    assert isinstance(dataset, Batches) and dataset.steps_per_epoch == 5
    assert indices(dataset.take(5)) == drawn(0)
    assert indices(dataset.from_epoch(2).take(10)) == drawn(2) + drawn(3)
    assert indices(dataset.from_epoch(1, skip=3).take(5)) == drawn(1)[3:] + drawn(2)[:3]


def test_a_part_is_taken_from_each_epoch(batches):
    first, rest = batches.take(2), batches.skip(2)
    assert (first.steps_per_epoch, rest.steps_per_epoch) == (2, 3)
    assert indices(first.from_epoch(0).take(6)) == drawn(0)[:2] + drawn(1)[:2] + drawn(2)[:2]
    assert indices(rest.from_epoch(1, skip=1).take(3)) == drawn(1)[3:] + drawn(2)[2:3]


def test_repeating_gives_new_epochs_and_not_the_first_again(batches):
    twice = batches.repeat(2)
    assert len(twice) == twice.steps_per_epoch == 10
    assert indices(twice) == drawn(0) + drawn(1)
    assert indices(twice.from_epoch(1, skip=4).take(8)) == (drawn(2) + drawn(3) + drawn(4))[4:12]
    assert batches.repeat().cardinality() == tf.data.INFINITE_CARDINALITY
    assert indices(batches.repeat().take(12)) == (drawn(0) + drawn(1) + drawn(2))[:12]


def test_an_epoch_longer_than_the_source_never_sees_an_order_twice(batches):
    dataset = batches.repeat().take(7)
    found = indices(dataset.from_epoch(0).take(14))
    assert dataset.steps_per_epoch == 7 and found[:7] == (drawn(0) + drawn(1))[:7]
    assert not {tuple(b) for b in found[:7]} & {tuple(b) for b in found[7:]}


def test_a_transform_of_an_endless_dataset_is_resumed_exactly(batches):
    dataset = batches.repeat().unbatch().batch(5)
    whole = indices(dataset.from_epoch(0).take(12))
    assert sum(whole, [])[:20] == sum(drawn(0), []) and dataset.steps_per_epoch == 5
    assert indices(dataset.from_epoch(1, skip=2).take(5)) == whole[7:12]


def test_a_seeded_shuffle_keeps_changing(batches):
    tf.random.set_seed(1)
    dataset = batches.in_order().shuffle(6, seed=1)
    epochs = [indices(dataset.from_epoch(e).take(6)) for e in (0, 0, 1)]
    assert epochs[0] == epochs[1] == indices(dataset) != epochs[2]
    assert sorted(sum(epochs[2], [])) == list(range(22))


def test_a_global_seed_of_0_does_not_stop_a_seeded_shuffle(batches):
    tf.random.set_seed(0)
    dataset = batches.in_order().shuffle(6, seed=1)
    epochs = [indices(dataset.from_epoch(e).take(6)) for e in (0, 0, 1)]
    assert epochs[0] == epochs[1] != epochs[2]


def test_an_unknown_number_of_batches_is_reported_as_none(batches):
    some = batches.filter(lambda e: e["index"][0] > 5)
    assert some.steps_per_epoch is None
    expected = [b for epoch in (0, 1) for b in drawn(epoch) if b[0] > 5]
    assert indices(some.from_epoch(0).take(len(expected))) == expected


def test_images_are_not_read_when_a_mapped_epoch_is_resumed(batches, monkeypatch):
    read, original = [], batches.source._read
    monkeypatch.setattr(
        batches.source, "_read", lambda wanted: read.extend(wanted.tolist()) or original(wanted)
    )
    single = batches.source.batches(1, seed=9).map(add_one).prefetch(1)
    indices(single.from_epoch(3, skip=12).take(1))
    assert read and not set(read) & set(order(9, 3, 22).numpy()[:12].tolist())


def test_workers_share_what_is_mapped(batches):
    mapped = batches.map(add_one).take(3)
    shares = [indices(mapped.of_worker(worker, 2).from_epoch(1).take(4)) for worker in (0, 1)]
    assert [a + b for a, b in zip(*shares, strict=True)] == drawn(1)[:3] + drawn(2)[:1]
    assert mapped.keeps_batches and not batches.unbatch().batch(2).keeps_batches
    with pytest.raises(ValueError, match="cannot share batches that unbatch, batch has rebatched"):
        batches.unbatch().batch(4).of_worker(0, 2)


def test_in_order_gives_all_images_as_mapped(batches):
    assert sum(indices(batches.take(2).map(add_one).in_order()), []) == list(range(22))
    assert int(next(iter(batches.map(add_one).in_order()))["image"][2, 0, 0, 0]) == 3


def test_transforms_that_freeze_the_order_are_refused(batches):
    with pytest.raises(ValueError, match=r"cache\(\) would repeat the order of the first epoch"):
        batches.cache()
    assert sum(indices(batches.in_order().cache()), []) == list(range(22))


def test_two_sources_that_share_indices_are_refused(batches):
    other = load(np.zeros([7, 4, 4], np.uint8), labels=np.zeros(7, int)).batches(4, seed=9)
    with pytest.raises(ValueError, match=r"two images would share an index.*data.join"):
        batches.concatenate(other)
    both = batches.concatenate(batches.source.batches(4, seed=3))
    assert indices(both.from_epoch(1).take(10)) == drawn(1) + drawn(1, seed=3)


def test_a_frozen_order_is_recognized_through_transforms(batches):
    assert not repeats_one_order(batches) and not repeats_one_order(batches.map(add_one))
    pairs = tf.data.Dataset.zip((batches, batches))
    assert repeats_one_order(pairs) and repeats_one_order(pairs.map(lambda a, b: a))
    assert not repeats_one_order(tf.data.Dataset.zip((batches.in_order(),) * 2))
    assert not repeats_one_order(tf.data.Dataset.range(3))
