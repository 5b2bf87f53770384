"""Features are computed in one complete pass, in inference mode."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras.evaluation import features


def _images(rows, size=6, channels=1):
    rng = np.random.default_rng(rows)
    return rng.integers(0, 256, (rows, size, size, channels), np.uint8)


def _encoder():
    """An untrained encoder whose BatchNormalization differs between training and inference."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Flatten(),
            keras.layers.Dense(3),
            keras.layers.BatchNormalization(),
        ]
    )


def _dataset(images, index, label=None, batch=4):
    element = {"image": images, "index": np.asarray(index, np.int64)}
    if label is not None:
        element["label"] = np.asarray(label, np.int64)
    return tf.data.Dataset.from_tensor_slices(element).batch(batch)


def _by_hand(encoder, images):
    """The dense layer in NumPy; a new BatchNormalization in inference only divides."""
    kernel, bias = (w.numpy() for w in encoder.layers[1].weights)
    flat = images.reshape(len(images), -1).astype(np.float32)
    return (flat @ kernel + bias) / np.sqrt(1 + encoder.layers[2].epsilon)


def test_features_equal_the_encoder_by_hand_and_keep_the_partial_batch():
    images, encoder = _images(10), _encoder()
    found = features(encoder, _dataset(images, range(10), range(20, 30)), progress=False)
    np.testing.assert_allclose(found.vectors, _by_hand(encoder, images), rtol=1e-4)
    np.testing.assert_array_equal(found.index, range(10))
    np.testing.assert_array_equal(found.labels, range(20, 30))
    assert len(found) == 10
    assert (found.vectors.dtype, found.labels.dtype) == (np.float32, np.int64)


def test_an_array_gives_the_same_as_its_batches():
    images, encoder = _images(300), _encoder()  # more than one batch of 256
    found = features(encoder, images, progress=False)
    expected = features(encoder, _dataset(images, range(300)), progress=False)
    np.testing.assert_allclose(found.vectors, expected.vectors, rtol=1e-4)
    np.testing.assert_array_equal(found.index, range(300))
    assert found.labels is None


def test_a_repeated_index_counts_once():
    images = _images(6)
    images[4] = images[1]
    dataset = _dataset(images, [7, 3, 9, 5, 3, 1], [0, 1, 2, 3, 1, 5])
    found = features(lambda x: tf.reshape(x, [len(x), -1]), dataset, progress=False)
    np.testing.assert_array_equal(found.index, [7, 3, 9, 5, 1])
    np.testing.assert_array_equal(found.labels, [0, 1, 2, 3, 5])
    np.testing.assert_array_equal(found.vectors, images[[0, 1, 2, 3, 5]].reshape(5, -1))


def test_two_images_of_one_index_are_an_error():
    images = _images(6)
    flat = lambda x: tf.reshape(x, [len(x), -1])  # noqa: E731
    with pytest.raises(ValueError, match="the index 3 stands for several images.*data.join"):
        features(flat, _dataset(images, [7, 3, 9, 5, 3, 1]), progress=False)
    images[4] = images[1]
    with pytest.raises(ValueError, match="the index 3 stands for several images"):
        features(flat, _dataset(images, [7, 3, 9, 5, 3, 1], [0, 1, 2, 3, 4, 5]), progress=False)


def test_rows_without_index_are_numbered():
    dataset = tf.data.Dataset.from_tensor_slices({"image": _images(10)}).batch(4)
    found = features(_encoder(), dataset, progress=False)
    np.testing.assert_array_equal(found.index, range(10))


def test_a_source_is_read_in_order():
    class Source:
        def batches(self, batch_size, *, shuffle):
            assert not shuffle
            return _dataset(_images(10), range(10), batch=batch_size)

    found = features(_encoder(), Source(), progress=False)
    np.testing.assert_allclose(found.vectors, _by_hand(_encoder(), _images(10)), rtol=1e-4)


def test_no_weight_moves():
    encoder = _encoder()
    before = [w.numpy() for w in encoder.weights]
    features(encoder, _images(9), progress=False)
    for old, new in zip(before, encoder.weights, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_half_precision_becomes_float32():
    found = features(
        lambda x: tf.cast(tf.reshape(x, [len(x), -1]), tf.bfloat16), _images(3), progress=False
    )
    assert found.vectors.dtype == np.float32
    expected = tf.cast(tf.cast(_images(3).reshape(3, -1), tf.bfloat16), tf.float32)
    np.testing.assert_array_equal(found.vectors, expected)


def test_the_bar_can_be_named_and_switched_off(capfd, monkeypatch):
    features(_encoder(), _images(3), progress="a title")
    assert "a title" not in capfd.readouterr().err  # a log, which is no terminal
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    features(_encoder(), _images(3), progress="a title")
    assert "a title" in capfd.readouterr().err
    features(_encoder(), _images(3), progress=False)
    assert "batch" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (lambda: _dataset(_images(8), range(8)).repeat(), "one pass.*received an endless dataset"),
        (lambda: _dataset(_images(8), range(8)).unbatch(), "Batch the dataset first"),
        (lambda: _dataset(_images(8), range(8)).take(0), "at least one batch.*received none"),
        (lambda: tf.data.Dataset.from_tensors(_images(8)), "received EagerTensor"),
        (lambda: [{"images": 0}], r"received \['images'\]"),
        (lambda: _images(8)[0], r"Expected images \[n, h, w, c\]"),
    ],
)
def test_a_wrong_stream_is_explained(batches, message):
    with pytest.raises(ValueError, match=message):
        features(_encoder(), batches(), progress=False)


def test_a_wrong_encoder_is_explained():
    with pytest.raises(ValueError, match=r"one vector per image, \[3, width\].*\(3, 6, 6, 1\)"):
        features(lambda images: tf.constant(images), _images(3), progress=False)
    with pytest.raises(TypeError, match="received str"):
        features("encoder", _images(3), progress=False)
