import keras
import numpy as np
import pytest

from cl_keras import encoders
from tests.tiny import tiny_encoder


def test_the_map_is_pooled_into_the_vector(images):
    encoder = tiny_encoder()
    maps = encoders.feature_map(encoder)
    found, vector = maps(images)
    np.testing.assert_allclose(vector, encoder(images), atol=1e-6)
    np.testing.assert_allclose(found.numpy().mean(axis=(1, 2)), vector, atol=1e-6)
    assert maps.shapes(12) == [found.shape[1:]]


def test_a_prefix_stands_for_the_end_of_a_stage(images):
    encoder = encoders.small_resnet(image_size=12)
    maps = encoders.feature_map(encoder, at=("stage0", "stage2"))
    shallow, deep, _ = maps(images)
    assert shallow.shape[1:] == (6, 6, 32) and deep.shape[1:] == (2, 2, 128)
    assert maps.shapes(12) == [(6, 6, 32), (2, 2, 128)]
    assert shallow.numpy().min() == 0 and shallow.numpy().max() > 0  # behind its ReLU


def test_any_model_exposes_the_map_that_it_pools(images):
    pixels = keras.Input([12, 12, 1])
    encoder = encoders.as_encoder(keras.Model(pixels, keras.layers.Conv2D(4, 3)(pixels)))
    found, vector = encoders.feature_map(encoder)(images)
    np.testing.assert_allclose(found.numpy().mean(axis=(1, 2)), vector, rtol=1e-5)


def test_a_model_that_holds_maps_has_the_variables_once():
    class Holder(keras.Model):
        def __init__(self, encoder):
            super().__init__()
            self.encoder = encoder
            self.maps = encoders.feature_map(encoder)

    encoder = tiny_encoder()
    assert len(Holder(encoder).variables) == len(encoder.variables)
    assert [layer.name for layer in Holder(encoder).layers] == ["tiny"]


def test_a_name_that_fits_nothing_is_refused():
    with pytest.raises(ValueError, match="at must be names.* received 'stage9'"):
        encoders.feature_map(tiny_encoder(), at="stage9")
