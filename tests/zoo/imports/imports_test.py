"""The import as users see it."""

import os
import pathlib

import keras
import numpy as np
import pytest

from cl_keras.zoo import imports
from cl_keras.zoo.imports.simclr import SimCLRFormat
from cl_keras.zoo.imports.torch_formats import TORCH_FORMATS

FIXTURE = pathlib.Path(__file__).parent / "fixtures/deepcluster_v2.pth"


def test_every_format_is_described():
    assert set(imports.FORMATS) == set(
        "torchvision moco moco_v3 pcl swav vissl instdisc barlow_twins vicreg simsiam lightning "
        "dino simclr".split()
    )
    assert all(description.endswith(".") for description in imports.FORMATS.values())


def test_the_encoder_trains_and_is_saved(tmp_path):
    encoder = imports.import_checkpoint(FIXTURE, "swav")
    images = np.random.default_rng(0).integers(0, 256, [4, 64, 64, 3], dtype=np.uint8)
    before = np.asarray(encoder(images, training=False))
    encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    np.testing.assert_allclose(loaded(images, training=False), before, rtol=1e-6)
    encoder.compile(keras.optimizers.SGD(0.1), "mse")
    encoder.fit(images, before + 1, verbose=0)
    assert np.abs(encoder(images, training=False) - before).max() > 0.01


@pytest.mark.parametrize("reader", [TORCH_FORMATS["torchvision"], SimCLRFormat()])
def test_the_bare_network_takes_the_weights(reader):
    """A converted encoder can be built again without its file."""
    first = reader.network("resnet50", width=1 / 64, image_size=96)
    again = keras.Model.from_config(first.get_config())
    assert [v.path for v in first.variables] == [v.path for v in again.variables]
    again.set_weights(first.get_weights())
    images = np.random.default_rng(0).uniform(0, 255, [2, 65, 65, 3]).astype("float32")
    np.testing.assert_array_equal(again(images, training=False), first(images, training=False))


def test_an_unknown_format_is_an_error_with_the_known_ones():
    with pytest.raises(
        ValueError, match="Unknown format 'moko'. Did you mean .*moco.* The formats are"
    ):
        imports.import_checkpoint(FIXTURE, "moko")


@pytest.mark.parametrize("image_size", [7, 100_000])
def test_an_image_size_out_of_bounds_is_refused(image_size):
    with pytest.raises(ValueError, match=f"from 8 to 4096 pixels; rec.* {image_size}"):
        imports.import_checkpoint(FIXTURE, "swav", image_size=image_size)


@pytest.mark.parametrize("format", ["swav", "simclr"])
def test_anything_but_a_plain_file_is_never_read(format, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(OSError):
            imports.import_checkpoint(path, format)


def test_swavs_red_is_divided_by_its_own_deviation():
    """With the same weights and 0.229, the pixels differ by half a percent."""
    encoder = imports.import_checkpoint(FIXTURE, "swav")
    layer = encoder.get_layer("preprocessing")
    images = np.random.default_rng(0).integers(0, 256, [1, 8, 8, 3]).astype("float32")
    expected = (images / 255 - [0.485, 0.456, 0.406]) / [0.228, 0.224, 0.225]
    np.testing.assert_allclose(layer(images), expected, rtol=1e-5, atol=1e-6)
    assert keras.Model.from_config(encoder.get_config()).get_layer("preprocessing").std == layer.std
