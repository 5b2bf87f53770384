"""SimCLR's TensorFlow checkpoints against their network written as plain operations."""

import os
import zipfile

import numpy as np
import pytest

from cl_keras import encoders
from cl_keras.zoo import imports
from cl_keras.zoo.imports import simclr
from tests.zoo.imports import simclr_network

VALUES = simclr_network.variables(width=2)
NAME = "model.ckpt-250228"
DATA = ".data-00000-of-00001"


def save(folder, values):
    simclr_network.save(values, folder / NAME)
    return folder / f"{NAME}.index"


def relative(found, expected):
    assert expected.std() > 0.1
    return np.abs(np.asarray(found) - expected).max() / np.abs(expected).max()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A folder with a checkpoint of the second version, including momentum, averages and heads."""
    folder = tmp_path_factory.mktemp("simclr")
    save(folder, VALUES | simclr_network.beside(VALUES))
    return folder


@pytest.mark.parametrize("size", [224, 97, 64])
def test_features_are_those_of_the_network(size, checkpoint):
    encoder = imports.import_checkpoint(checkpoint, "simclr")
    images = np.random.default_rng(size).integers(0, 256, [2, size, size, 3], dtype=np.uint8)
    expected = simclr_network.features(VALUES, images)
    assert relative(encoder(images, training=False), expected) < 1e-5


def test_a_network_of_full_size_is_read(tmp_path):
    values = simclr_network.variables(width=64, seed=1)
    encoder = imports.import_checkpoint(save(tmp_path, values), "simclr", image_size=96)
    assert encoder.name == "resnet50"
    assert encoder.output_shape == (None, 2048)
    assert encoder.get_layer("preprocessing").image_size == 96
    assert encoder.count_params() == 23_561_152  # a ResNet-50 without its classifier
    images = np.random.default_rng(0).integers(0, 256, [1, 97, 97, 3], dtype=np.uint8)
    expected = simclr_network.features(values, images)
    assert relative(encoder(images, training=False), expected) < 1e-5


def test_torchvisions_network_would_give_other_features(checkpoint):
    """Padding and scale of the pixels matter: the same weights in the other network."""
    encoder = imports.import_checkpoint(checkpoint, "simclr")
    other = encoders.resnet50(width=2 / 64, stem="imagenet")
    other.set_weights(encoder.get_weights())
    images = np.random.default_rng(0).integers(0, 256, [2, 64, 64, 3], dtype=np.uint8)
    expected = simclr_network.features(VALUES, images)
    assert relative(other(images, training=False), expected) > 0.01


def test_a_checkpoint_can_be_named_in_several_ways(checkpoint, tmp_path):
    simclr_network.save_zip(VALUES, tmp_path / "ResNet50_1x.zip", tmp_path)
    places = [
        checkpoint,
        checkpoint / NAME,
        checkpoint / f"{NAME}.index",
        tmp_path / "ResNet50_1x.zip",
    ]
    for place in places:
        reader = simclr.SimCLRFormat()
        with reader.open(place) as streams:
            name, width, arrays = reader.read(*streams)
        assert (name, width) == ("resnet50", 2 / 64)
        np.testing.assert_array_equal(
            arrays["stem_conv/kernel"], VALUES["base_model/conv2d/kernel"]
        )


KERNEL = "base_model/conv2d_9/kernel"


@pytest.mark.parametrize(
    "change, complaint",
    [
        ({KERNEL: None}, f"must have '{KERNEL}'"),
        ({"base_model/batch_normalization/gamma": None}, "must have 'base_model/batch_norm"),
        (
            {"base_model/conv2d_53/kernel": np.ones([1, 1, 2, 2])},
            "must not have 'base_model/conv2d",
        ),
        ({"surplus": np.ones(3)}, "must not have 'surplus'"),
        ({KERNEL: np.ones([1, 1, 2, 2])}, rf"{KERNEL}' must have the shape \[3, 3, 2, 2\]; rec"),
        ({KERNEL: np.full([3, 3, 2, 2], np.nan)}, f"{KERNEL}' must hold finite"),
        ({"base_model/batch_normalization/beta": np.array([1, 2])}, "floating-point"),
        ({"base_model/batch_normalization/beta": np.array([1, np.inf])}, "finite"),
        ({"base_model/batch_normalization/moving_variance": np.array([1.0, -1])}, "below 0"),
        ({"base_model/conv2d/kernel": np.ones([3, 3, 3, 1])}, "selective kernels, or for CIFAR"),
        ({"base_model/conv2d/kernel": np.ones([7, 7, 3, 321])}, "1 to 320 output channels"),
        ({"base_model/conv2d/kernel": None}, "must have 'base_model/conv2d/kernel'"),
    ],
)
def test_another_checkpoint_is_refused(change, complaint, tmp_path):
    values = {k: v for k, v in (VALUES | change).items() if v is not None}
    with pytest.raises(ValueError, match=complaint):
        imports.import_checkpoint(save(tmp_path, values), "simclr")


def test_a_damaged_checkpoint_is_refused(tmp_path):
    index = save(tmp_path, VALUES)
    data = tmp_path / (NAME + DATA)
    whole = data.read_bytes()
    for damaged in (whole[:1000], b"", bytes(len(whole))):
        data.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"^{index.name}: "):
            imports.import_checkpoint(index, "simclr")
    data.write_bytes(whole)
    for damaged in (index.read_bytes()[:100], b"", b"<html>"):
        index.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"^{index.name}: "):
            imports.import_checkpoint(index, "simclr")


def test_a_checkpoint_without_its_data_is_refused(tmp_path):
    index = save(tmp_path, VALUES)
    os.unlink(tmp_path / (NAME + DATA))
    with pytest.raises(FileNotFoundError, match=DATA):
        imports.import_checkpoint(index, "simclr")


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        imports.import_checkpoint(tmp_path / "none.index", "simclr")


def test_a_folder_with_none_or_two_is_refused(tmp_path):
    with pytest.raises(ValueError, match="must have one checkpoint.*has 0"):
        imports.import_checkpoint(tmp_path, "simclr")
    save(tmp_path, VALUES)
    simclr_network.save(VALUES, tmp_path / "model.ckpt-1")
    with pytest.raises(ValueError, match="must have one checkpoint.*has 2"):
        imports.import_checkpoint(tmp_path, "simclr")


@pytest.mark.parametrize(
    "members, complaint",
    [
        ({"a/other.index": b"x"}, "must have one checkpoint"),
        ({"model.ckpt-1.index": b"x", "b/model.ckpt-1.index": b"x"}, "has 2"),
        ({"model.ckpt-1.index": b"x"}, "lacks .*data"),
        ({"model.ckpt-1.index": b"x", f"model.ckpt-1{DATA}": b"y"}, ""),
        ({"model.ckpt-1.index": b"x", f"model.ckpt-1{DATA}": bytes(50 * 2**20)}, "too large"),
        ({"model.ckpt-1.index": bytes(50 * 2**20), f"model.ckpt-1{DATA}": b""}, "too large"),
        ({f"../model.ckpt-1{end}": b"x" for end in (".index", DATA)}, ""),
    ],
)
def test_a_hostile_archive_is_refused(members, complaint, tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    with zipfile.ZipFile(folder / "file.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match=f"^file.zip: .*{complaint}"):
        imports.import_checkpoint(folder / "file.zip", "simclr")
    assert [path.name for path in tmp_path.rglob("*")] == ["inside", "file.zip"]


def test_a_damaged_archive_is_refused(tmp_path):
    simclr_network.save_zip(VALUES, tmp_path / "file.zip", tmp_path)
    data = bytearray((tmp_path / "file.zip").read_bytes())
    data[len(data) // 2] ^= 255
    (tmp_path / "file.zip").write_bytes(bytes(data))
    with pytest.raises(ValueError, match="^file.zip: "):
        imports.import_checkpoint(tmp_path / "file.zip", "simclr")
