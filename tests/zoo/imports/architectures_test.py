"""The lists of layers against the encoders themselves."""

import pytest

from cl_keras.zoo.imports import architectures
from cl_keras.zoo.imports.simclr import SimCLRFormat
from cl_keras.zoo.imports.torch_formats import TORCH_FORMATS


def variables(layers):
    """{path: shape} of the variables of our encoders that the layers correspond to."""
    found = {f"{layer.name}_conv/kernel": layer.shape for layer in layers}
    for layer in layers:
        for part in ("gamma", "beta", "moving_mean", "moving_variance"):
            found[f"{layer.name}_norm/{part}"] = layer.shape[-1:]
    return found


@pytest.mark.parametrize("name", architectures.FAMILIES)
@pytest.mark.parametrize("width", [1, 6])
def test_the_layers_are_those_of_the_encoder(name, width):
    layers = architectures.FAMILIES[name].layers(width)
    encoder = TORCH_FORMATS["torchvision"].network(name, width=width / 64, image_size=96)
    assert variables(layers) == {v.path: tuple(v.shape) for v in encoder.variables}


def test_simclrs_encoder_has_the_layers_of_a_resnet50():
    encoder = SimCLRFormat().network("resnet50", width=1 / 64, image_size=96)
    layers = architectures.FAMILIES["resnet50"].layers(1)
    assert variables(layers) == {v.path: tuple(v.shape) for v in encoder.variables}


def test_tensorflow_creates_the_shortcut_before_the_convolutions():
    names = [layer.name for layer in architectures.FAMILIES["resnet50"].layers(64)[:6]]
    block = "stage0_block0"
    assert names == ["stem", f"{block}_shortcut", *[f"{block}_{i}" for i in (1, 2, 3)]] + [
        "stage0_block1_1"
    ]


@pytest.mark.parametrize("name", architectures.FAMILIES)
def test_a_network_is_recognized_by_its_names(name):
    layers = architectures.FAMILIES[name].layers(12)
    shapes = {f"{layer.conv}.weight": layer.shape[::-1] for layer in layers}
    assert architectures.recognize(shapes) == (name, 12)


def test_another_depth_is_refused():
    shapes = {
        f"{layer.conv}.weight": (64,) for layer in architectures.FAMILIES["resnet50"].layers(1)
    }
    shapes["layer3.6.conv1.weight"] = (64,)
    with pytest.raises(ValueError, match=r"received 3 in each of \(3, 4, 7, 3\)"):
        architectures.recognize(shapes)


@pytest.mark.parametrize("shape", [(), (0,), (321,), (64, 3)])
def test_a_stem_of_an_impossible_width_is_refused(shape):
    with pytest.raises(ValueError, match="must have 1 to 320 output channels"):
        architectures.check_width(shape)
