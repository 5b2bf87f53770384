"""Images that share an index are noticed if it repeats more often than draws could explain."""

import warnings

import numpy as np
import pytest
import tensorflow as tf

import cl_keras as cl
from cl_keras.data.repeated_index import watch_index
from tests import tiny

N, BATCH = 64, 8


def dataset_of(indices):
    images = np.zeros([len(indices), 2, 2, 1], "uint8")
    elements = {"image": images, "index": np.asarray(indices, "int64")}
    return tf.data.Dataset.from_tensor_slices(elements).batch(BATCH)


def test_indices_that_begin_again_in_each_batch_are_noticed_once():
    dataset = watch_index(dataset_of(np.arange(N) % BATCH), N)
    with pytest.warns(UserWarning, match="first 32 images .* only 8 different") as caught:
        list(dataset)
    assert len(caught) == 1


RIGHT = {
    "in order": np.arange(N),
    "shuffled": np.random.default_rng(0).permutation(N),
    "drawn with replacement": np.random.default_rng(0).integers(0, N, N),
    "several epochs": np.tile(np.arange(N), 3),
    "two views as two images": np.repeat(np.arange(N), 2),
    "few images": np.tile(np.arange(BATCH // 2), 20),
}


@pytest.mark.parametrize("indices", RIGHT.values(), ids=RIGHT)
def test_others_are_not(indices):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        elements = list(watch_index(dataset_of(indices), min(N, len(set(indices.tolist())))))
    found = np.concatenate([element["index"] for element in elements])
    np.testing.assert_array_equal(found, indices)


def test_fit_of_a_method_with_a_bank_notices_them():
    images = np.random.default_rng(0).integers(0, 256, [BATCH, 8, 8, 1], "uint8")

    def batches():
        for _ in range(5):
            yield {"image": images, "index": np.arange(BATCH)}

    spec = {
        "image": tf.TensorSpec([BATCH, 8, 8, 1], tf.uint8),
        "index": tf.TensorSpec([BATCH], tf.int64),
    }
    model = cl.InstDisc(
        tiny.tiny_encoder(), views=cl.views.simclr(8, 1), num_images=N, num_negatives=4
    )
    model.compile("sgd")
    dataset = tf.data.Dataset.from_generator(batches, output_signature=spec)
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(5))
    with pytest.warns(UserWarning, match="only 8 different"):
        model.fit(dataset, verbose=0)
