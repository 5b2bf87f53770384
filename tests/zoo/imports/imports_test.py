"""What users of the import see."""

import pathlib

import keras
import numpy as np
import pytest

from cl_keras.zoo import imports

FIXTURE = pathlib.Path(__file__).parent / "fixtures/deepcluster_v2.pth"


def test_every_format_says_what_has_it():
    assert set(imports.FORMATS) == set(
        "torchvision moco moco_v3 pcl swav vissl instdisc barlow_twins dino simclr".split()
    )
    assert all(description.endswith(".") for description in imports.FORMATS.values())


def test_the_encoder_trains_and_is_saved(tmp_path):
    encoder = imports.encoder_from(FIXTURE, "swav")
    images = np.random.default_rng(0).integers(0, 256, [4, 64, 64, 3], dtype=np.uint8)
    before = np.asarray(encoder(images, training=False))
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    np.testing.assert_allclose(loaded(images, training=False), before, rtol=1e-6)
    encoder.compile(keras.optimizers.SGD(0.1), "mse")
    encoder.fit(images, before + 1, verbose=0)
    assert np.abs(encoder(images, training=False) - before).max() > 0.01


@pytest.mark.parametrize("format", ["torchvision", "simclr"])
def test_the_network_alone_takes_the_weights(format):
    """A converted encoder can be built again without its file."""
    first = imports.network(format, "resnet50", width=1 / 64, image_size=96)
    again = imports.network(format, "resnet50", width=1 / 64, image_size=96)
    assert [v.path for v in first.variables] == [v.path for v in again.variables]
    again.set_weights(first.get_weights())
    images = np.random.default_rng(0).uniform(0, 255, [2, 65, 65, 3]).astype("float32")
    np.testing.assert_array_equal(again(images, training=False), first(images, training=False))


def test_an_unknown_format_is_an_error_with_the_known_ones():
    with pytest.raises(ValueError, match="format must be one of torchvision, .*; received 'moko'"):
        imports.encoder_from(FIXTURE, "moko")
    with pytest.raises(ValueError, match="format must be one of"):
        imports.network("moko", "resnet50")


def test_an_unknown_encoder_is_an_error_with_the_known_ones():
    with pytest.raises(ValueError, match="encoder must be one of resnet18, .*; received 'vit'"):
        imports.network("moco", "vit")
