"""Logs for TensorBoard, read back by its own code."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from cl_keras import data
from cl_keras.callbacks import Samples
from cl_keras.callbacks.samples import write_projector
from tests.tiny import tiny_simclr


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder, the model and the images of a run of two epochs of ten steps."""
    folder = tmp_path_factory.mktemp("samples")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 1), np.uint8)
    images = data.load(pixels, labels=np.arange(40) % 2, class_names=["a", "b\t"])
    model = tiny_simclr()
    model.fit(images, batch_size=4, epochs=2, callbacks=[Samples(images, folder, 5)], verbose=0)
    return folder, model, images


def test_steps_and_views_are_there(written):
    events = EventAccumulator(str(written[0]), size_guidance={"tensors": 0})
    events.Reload()
    assert [event.step for event in events.Tensors("steps/loss")] == [5, 10, 15, 20]
    assert [event.step for event in events.Tensors("an image and its views")] == [0]
    [image] = events.Tensors("an image and its views")
    picture = tf.io.decode_png(image.tensor_proto.string_val[2])
    assert picture.shape == (8 * 12, (1 + 2 * 3) * 12, 1)  # an image, three draws of two views
    np.testing.assert_array_equal(picture[:12, :12], written[2].images([0])[0])


def test_the_projector_has_the_vectors_names_and_thumbnails(written):
    folder, model, images = written
    config = text_format.Parse((folder / "projector_config.pbtxt").read_text(), ProjectorConfig())
    [embedding] = config.embeddings
    vectors = np.loadtxt(folder / embedding.tensor_path, delimiter="\t")
    expected = model.predict(images.images(range(40)), verbose=0)
    np.testing.assert_allclose(vectors, expected, rtol=1e-4, atol=1e-5)
    heading, *lines = (folder / embedding.metadata_path).read_text().splitlines()
    assert heading == "name\tlabel" and len(lines) == 40 and lines[2] == "2\ta"
    assert all(line.count("\t") == 1 for line in lines)
    side = embedding.sprite.single_image_dim[0]
    sprite = tf.io.decode_png((folder / embedding.sprite.image_path).read_bytes())
    assert sprite.shape == (7 * side, 7 * side, 1)  # 40 in a square of 49
    thumbnail = sprite[side : 2 * side, 2 * side : 3 * side]  # second row, third: number 9
    expected = tf.image.resize(images.images([9]), [side, side], antialias=True)[0]
    np.testing.assert_allclose(tf.cast(thumbnail, tf.float32), expected, atol=1)


def test_very_many_images_are_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr("cl_keras.callbacks.samples.PROJECTED", 5)
    inputs = keras.Input([4, 4, 3])
    encoder = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(inputs))
    pixels = np.arange(9, dtype="uint8")[:, None, None, None] + np.zeros([1, 4, 4, 3], "uint8")
    write_projector(encoder, pixels, tmp_path)
    vectors = np.loadtxt(tmp_path / "vectors.tsv", delimiter="\t")
    np.testing.assert_array_equal(vectors[:, 0], [0, 2, 4, 6, 8])


def test_a_wrong_interval_is_refused(tmp_path):
    with pytest.raises(ValueError, match="every must be at least 1; received 0"):
        Samples(np.zeros([2, 4, 4, 1]), tmp_path, every=0)
