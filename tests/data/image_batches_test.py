"""Batches of images in any form, and their number of steps."""

import numpy as np
import pytest
import tensorflow as tf

from cl_keras.data import Batches, image_batches, load
from cl_keras.data.image_batches import count_steps
from cl_keras.data.order import order
from tests.tiny import tiny_simclr

ARRAY = np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1) * np.ones([1, 12, 12, 1], np.uint8)


@pytest.mark.parametrize("images", [ARRAY, tf.constant(ARRAY), load(ARRAY)])
def test_arrays_and_sources_are_batched(images):
    batches = image_batches(images, 4)
    assert isinstance(batches, Batches)
    assert [len(element["index"]) for element in batches] == [4, 4, 2]
    assert len(image_batches(images, 4, drop_remainder=True)) == 2
    assert image_batches(images).batch_size == 10, "no more than there are"
    shuffled = image_batches(images, 10, seed=3, shuffle=True)
    assert next(iter(shuffled))["index"].numpy().tolist() == order(3, 0, 10).numpy().tolist()


def test_a_dataset_is_left_as_it_is():
    batches, plain = load(ARRAY).batches(4), tf.data.Dataset.from_tensors(ARRAY)
    assert image_batches(batches) is batches and image_batches(plain) is plain
    with pytest.raises(ValueError, match="a dataset brings its own batches"):
        image_batches(plain, 4)
    with pytest.raises(ValueError, match="received list"):
        image_batches([ARRAY])


def test_an_order_that_repeats_causes_a_warning():
    batches = load(ARRAY).batches(4)
    pairs = tf.data.Dataset.zip((batches, batches)).map(lambda a, b: {**a, "other": b["image"]})
    with pytest.warns(UserWarning, match="every epoch .* has the order of the first"):
        image_batches(pairs, shuffle=True)


def test_sources_concatenated_by_hand_are_refused():
    one, two = (load(images).batches(4, shuffle=False) for images in (ARRAY, ARRAY[:7]))
    dataset = tf.data.Dataset
    for joined in (
        dataset.concatenate(one, two),
        dataset.sample_from_datasets([one, two]),
        dataset.choose_from_datasets([one, two], dataset.range(2)).prefetch(1),
        dataset.zip((one, two)).map(lambda a, b: a).concatenate(two),
    ):
        with pytest.raises(ValueError, match="both number their images from 0.*data.join"):
            image_batches(joined)
    with pytest.raises(ValueError, match="only the first would be used"):
        image_batches(dataset.zip((one, two)))
    for right in (
        dataset.concatenate(one, one),
        dataset.zip((one, two)).map(lambda a, b: {**a, "other": b["image"]}),
        dataset.zip((one, dataset.range(2))),
    ):
        assert image_batches(right) is right


def test_small_floats_cause_a_warning():
    floats = load(ARRAY).batches(4).map(lambda e: {**e, "image": e["image"] / 255})
    watched = image_batches(floats)
    assert isinstance(watched, Batches) and watched.steps_per_epoch == 2
    with pytest.warns(UserWarning, match="values in 0 … 1"):
        list(watched)


def test_steps_are_counted_and_an_unknown_number_is_refused():
    batches = load(ARRAY).batches(4)
    assert count_steps(batches) == count_steps(batches.repeat()) == 2
    assert count_steps(batches, 7) == 7
    assert count_steps(tf.data.Dataset.from_tensors(ARRAY).repeat()) == -1
    some = batches.filter(lambda e: True)
    with pytest.raises(ValueError, match="after filter is not known. Give steps_per_epoch"):
        count_steps(some)
    assert count_steps(some.apply(tf.data.experimental.assert_cardinality(2))) == 2


@pytest.mark.parametrize("transform", ["map", "repeat"])
def test_fit_gives_each_epoch_of_transformed_batches_its_order(transform):
    seen = []

    def note(index):
        seen.append(index.tolist())
        return index

    def record(element):
        index = tf.numpy_function(
            lambda i: seen.append(i.tolist()) or i, [element["index"]], "int64"
        )
        return {**element, "index": tf.ensure_shape(index, [4])}

    batches = load(ARRAY).batches(4, seed=5)
    batches = batches.repeat() if transform == "repeat" else batches
    model = tiny_simclr()
    model.fit(batches.map(record), epochs=3, verbose=0)
    expected = [order(5, e, 10).numpy()[:8].reshape(2, 4).tolist() for e in range(3)]
    assert seen[:6] == sum(expected, []), "the rest was read ahead"
