"""Official PyTorch formats: features equal PyTorch's forward pass, and nothing else fits.

The fixtures are made by tools/make_import_fixtures.py. With PyTorch here, ResNet-50s are compared
as well, of a quarter of the width and, in three forms, of the whole.
"""

import pathlib

import numpy as np
import pytest

from cl_keras.zoo import imports
from cl_keras.zoo.imports import torch_file
from cl_keras.zoo.imports.torch_formats import TORCH_FORMATS
from tests.zoo.imports import torch_writer as writer

FIXTURES = pathlib.Path(__file__).parent / "fixtures"
EXPECTED = dict(np.load(FIXTURES / "expected.npz", allow_pickle=False))
FORMAT_OF = {
    "moco_v1": "moco",
    "moco_v2": "moco",
    "moco_bare": "moco",
    "moco_v3": "moco_v3",
    "pcl_v2": "pcl",
    "swav": "swav",
    "deepcluster_v2": "swav",
    "pirl_vissl": "vissl",
    "instdisc": "instdisc",
    "barlow_twins": "barlow_twins",
    "barlow_twins_full": "barlow_twins",
    "vicreg": "vicreg",
    "vicreg_full": "vicreg",
    "simsiam": "simsiam",
    "lightning": "lightning",
    "dino": "dino",
    "dino_full": "dino",
    "torchvision": "torchvision",
    "torchvision_without_fc": "torchvision",
}
TOLERANCE = 1e-5
"""Of the largest feature; measured is 5e-7."""

BESIDE = {"train", "lemniscate", "args", "hyper_parameters", "callbacks"}


def distance(found, expected):
    assert found.shape == expected.shape
    assert expected.std() > 0.1
    return np.abs(found - expected).max() / np.abs(expected).max()


def test_every_format_has_a_fixture():
    assert set(FORMAT_OF.values()) == set(TORCH_FORMATS)
    assert sorted(path.stem for path in FIXTURES.glob("*.pth")) == sorted(FORMAT_OF)
    assert sum(path.stat().st_size for path in FIXTURES.iterdir()) < 1.8e6


@pytest.mark.parametrize("name", FORMAT_OF)
def test_features_are_those_of_pytorch(name):
    encoder = imports.import_checkpoint(FIXTURES / f"{name}.pth", FORMAT_OF[name], image_size=96)
    assert encoder.get_layer("preprocessing").image_size == 96
    assert len(encoder.trainable_variables) > 0
    for size in (64, 97):
        found = np.asarray(encoder(EXPECTED[f"images_{size}"], training=False))
        assert distance(found, EXPECTED[f"{name}_{size}"]) < TOLERANCE


ONE_OF_EACH = {format: name for name, format in FORMAT_OF.items()}
FULL_SIZE = {"moco_v2", "instdisc", "dino_full"}


@pytest.mark.parametrize("name", ONE_OF_EACH.values())
def test_features_of_a_resnet50_are_those_of_pytorch(name, tmp_path):
    pytest.importorskip("torch")
    from tests.zoo.imports import torch_networks

    format, make, form = torch_networks.CHECKPOINTS[name]
    assert format == FORMAT_OF[name]
    width = 64 if name in FULL_SIZE else 16
    network, value = make("resnet50", width)
    path = tmp_path / "checkpoint.pth"
    torch_networks.save(value, path, form)
    encoder = imports.import_checkpoint(path, format)
    path.unlink()
    assert encoder.name == "resnet50"
    assert encoder.output_shape == (None, 32 * width)
    rng = np.random.default_rng(0)
    for size in (224, 97):
        images = rng.integers(0, 256, [1, size, size, 3], dtype=np.uint8)
        expected = torch_networks.features(network, images)
        assert distance(np.asarray(encoder(images, training=False)), expected) < TOLERANCE


@pytest.mark.parametrize("name", ["resnet18", "resnet34"])
def test_basic_blocks_of_full_size_are_those_of_pytorch(name, tmp_path):
    pytest.importorskip("torch")
    from tests.zoo.imports import torch_networks

    network, value = torch_networks.torchvision(name, 64, torch_networks.linear(1000))
    torch_networks.save(value, tmp_path / "checkpoint.pth", "zip")
    encoder = imports.import_checkpoint(tmp_path / "checkpoint.pth", "torchvision")
    assert encoder.name == name
    images = np.random.default_rng(0).integers(0, 256, [1, 97, 97, 3], dtype=np.uint8)
    expected = torch_networks.features(network, images)
    assert distance(np.asarray(encoder(images, training=False)), expected) < TOLERANCE


def test_a_fixture_with_another_weight_gives_other_features(tmp_path):
    """Shows that the comparison can fail: every weight counts."""
    images, expected = EXPECTED["images_64"], EXPECTED["torchvision_without_fc_64"]
    for key in ("layer4.1.conv2.weight", "bn1.running_var", "layer2.0.downsample.1.bias"):
        state = state_of("torchvision_without_fc")
        state[key] = state[key] + 0.1
        writer.write_zip(tmp_path / "changed.pth", state)
        encoder = imports.import_checkpoint(tmp_path / "changed.pth", "torchvision")
        found = np.asarray(encoder(images, training=False))
        assert distance(found, expected) > 100 * TOLERANCE


def whole(name):
    """What a fixture holds, its tensors as arrays, and without what is not a plain value."""
    with open(FIXTURES / f"{name}.pth", "rb") as file, torch_file.opened(file) as checkpoint:

        def plain(value):
            if isinstance(value, dict):
                return {key: plain(v) for key, v in value.items() if key not in BESIDE}
            if not hasattr(value, "storage"):
                return value
            [(_, array)] = checkpoint.arrays({"": value})
            return array

        return plain(checkpoint.value)


def state_of(name, value=None):
    """The innermost dict that has the encoder's weights."""
    value = whole(name) if value is None else value
    if any(key.endswith("conv1.weight") for key in value):
        return value
    order = ["teacher", "classy_state_dict", "state_dict", "model", "base_model", "trunk"]
    return state_of(name, next(value[key] for key in order if key in value))


def encoder_key(state, ending):
    """The key of the encoder that is read: the first with this ending."""
    order = ["module.encoder_q.", "module.base_encoder."]
    keys = [key for key in state if key.endswith(ending)]
    return next((key for key in keys if key.startswith(tuple(order))), keys[0])


@pytest.mark.parametrize("format, name", ONE_OF_EACH.items())
def test_a_missing_key_is_named(format, name, tmp_path):
    value = whole(name)
    state = state_of(name, value)
    key = encoder_key(state, "layer3.1.bn2.running_mean")
    del state[key]
    with pytest.raises(ValueError, match=f"'{format}' must have '{key}'"):
        read(value, tmp_path, format)


@pytest.mark.parametrize("format, name", ONE_OF_EACH.items())
def test_an_extra_key_is_named(format, name, tmp_path):
    value = whole(name)
    surplus = "backbone.surplus.weight" if format == "lightning" else "module.surplus.weight"
    state_of(name, value)[surplus] = np.ones(3, "float32")
    with pytest.raises(ValueError, match=f"must not have '{surplus}'"):
        read(value, tmp_path, format)


@pytest.mark.parametrize("format, name", ONE_OF_EACH.items())
def test_a_key_of_another_shape_is_named(format, name, tmp_path):
    value = whole(name)
    state = state_of(name, value)
    key = encoder_key(state, "layer2.1.conv1.weight")
    received = [1, *state[key].shape[1:]]
    state[key] = np.ones(received, "float32")
    with pytest.raises(
        ValueError, match=r"layer2.1.conv1.weight' must have the shape \[.*received"
    ):
        read(value, tmp_path, format)


def read(value, tmp_path, format):
    writer.write_zip(tmp_path / "checkpoint.pth", value)
    return imports.import_checkpoint(tmp_path / "checkpoint.pth", format)


# What has the layout of another: MoCo and PCL are alike; a network alone in a file, or one that
# nn.DataParallel has wrapped, is told by its other keys or not at all.
FITTING = {
    "moco": {"pcl"},
    "pcl": {"moco"},
    "barlow_twins": {"dino", "torchvision", "vicreg"},
    "vicreg": {"dino", "torchvision", "barlow_twins"},
    "dino": {"barlow_twins", "torchvision", "vicreg"},
    "torchvision": {"barlow_twins", "dino", "vicreg"},
    "instdisc": {"torchvision", "swav"},
}


@pytest.mark.parametrize("name", FORMAT_OF)
def test_a_checkpoint_of_another_format_is_refused_by_the_name_of_its_own(name):
    own = FORMAT_OF[name]
    for other in set(TORCH_FORMATS) - {own} - FITTING.get(own, set()):
        with pytest.raises(ValueError, match=f"of the format '{other}' must have .*") as error:
            imports.import_checkpoint(FIXTURES / f"{name}.pth", other)
        assert repr(own) in str(error.value).rpartition("It may be of the format")[2]


def test_a_classifier_is_refused_if_the_checkpoint_has_none():
    """torchvision's own file is not a Barlow Twins checkpoint."""
    with pytest.raises(ValueError, match="must not have 'fc.weight', 'fc.bias'"):
        imports.import_checkpoint(FIXTURES / "torchvision.pth", "barlow_twins")


def test_a_network_that_we_do_not_have_is_described(tmp_path):
    state = state_of("torchvision_without_fc")
    state["layer3.2.conv1.weight"] = state["layer3.1.conv1.weight"]
    with pytest.raises(ValueError, match=r"received 2 in each of \(2, 2, 3, 2\)"):
        read(state, tmp_path, "torchvision")


def test_half_and_double_precision_are_read_as_float32(tmp_path):
    state = state_of("torchvision_without_fc")
    for dtype in ("<f2", "<f8"):
        changed = {k: v.astype(dtype) if v.dtype == "<f4" else v for k, v in state.items()}
        encoder = read(changed, tmp_path, "torchvision")
        kernel = next(v for v in encoder.variables if v.path == "stem_conv/kernel")
        assert kernel.dtype == "float32"
        expected = changed["conv1.weight"].transpose(2, 3, 1, 0).astype("float32")
        np.testing.assert_array_equal(kernel.numpy(), expected)


def test_networks_of_a_wrapper_and_of_a_training_script_are_read(tmp_path):
    state = state_of("torchvision_without_fc")
    wrapped = {f"module.{key}": array for key, array in state.items()}
    for value in ({"state_dict": wrapped, "epoch": 3}, {"state_dict": state}, {"model": state}):
        encoder = read(value, tmp_path, "torchvision")
        found = np.asarray(encoder(EXPECTED["images_64"], training=False))
        assert distance(found, EXPECTED["torchvision_without_fc_64"]) < TOLERANCE
