import keras
import numpy as np
import pytest

from cl_keras.pretraining import teachers


def test_a_model_of_keras_applications_brings_its_preprocessing():
    """MobileNet's: from 0..255 to -1..1. It survives its configuration."""
    keras.utils.set_random_seed(0)
    teacher = teachers.application("MobileNet", weights=None)
    images = np.random.default_rng(0).integers(0, 256, [1, 224, 224, 3]).astype("float32")
    [backbone] = [layer for layer in teacher.layers if isinstance(layer, keras.Model)]
    expected = backbone(images / 127.5 - 1, training=False)
    received = teacher(images, training=False)
    assert received.shape == (1, 1024)
    np.testing.assert_allclose(received, expected, atol=1e-5)
    again = keras.Model.from_config(teacher.get_config())
    again.set_weights(teacher.get_weights())
    np.testing.assert_array_equal(again(images, training=False), received)


def test_an_unknown_teacher_is_named():
    with pytest.raises(ValueError, match="no model 'ResNet5'. Did you mean 'ResNet50'"):
        teachers.load("keras:ResNet5")
    with pytest.raises(FileNotFoundError, match="--teacher must be a .keras file, the folder"):
        teachers.load("no/such/folder")


def test_weights_that_cannot_be_read_are_an_os_error(monkeypatch):
    def offline(*arguments, **options):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(teachers, "_models", lambda: {"MobileNet": offline})
    with pytest.raises(OSError, match="weights of keras:MobileNet cannot be read: URL fetch"):
        teachers.load("keras:MobileNet")
