"""Official PyTorch checkpoints: how to find the encoder in each format.

Each format is the state of the network in its authors' code, which is named next to it. Everything
else in a file (epoch, optimizer, arguments, a memory bank) belongs to training and is not used.
Every key of the state either belongs to the encoder or matches a pattern in `dropped`.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import keras
import numpy as np

from cl_keras.files import open_plain
from cl_keras.zoo.imports import architectures, checks, torch_file

NORMALIZATION = ("weight", "bias", "running_mean", "running_var")
"""PyTorch's names for `architectures.NORMALIZATION`."""

COUNTER = r".*\.num_batches_tracked$"
"""Steps of a batch normalization, which the encoder does not use."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """The path of the state in the file, and the prefix of torchvision's names in it."""

    path: tuple[str, ...]
    prefix: str

    def state(self, value: Any) -> dict | None:
        """The state in the saved value, or None if the file does not have this layout."""
        for key in self.path:
            value = value.get(key) if isinstance(value, dict) else None
        if not isinstance(value, dict) or f"{self.prefix}conv1.weight" not in value:
            return None
        return {key: item for key, item in value.items() if isinstance(key, str)}


@dataclasses.dataclass(frozen=True)
class TorchFormat:
    """A format of checkpoints.

    Attributes:
        name: the name that users give.
        description: the checkpoints that have this format.
        layouts: possible layouts, of which the first that fits is used.
        dropped: patterns of the keys that are left out on purpose; default: ().
        std: standard deviation per channel, for pixels in 0..255, by which the authors' code
            divides; default: None, that of ImageNet.
    """

    name: str
    description: str
    layouts: tuple[Layout, ...]
    dropped: tuple[str, ...] = ()
    std: tuple[float, float, float] | None = None

    def network(self, encoder: str, *, width: float, image_size: int) -> keras.Model:
        """An encoder of `architectures.FAMILIES` with fresh weights, as checkpoints fill it."""
        build = architectures.FAMILIES[encoder].build
        built = build(width=width, image_size=image_size, stem="imagenet", name=encoder)
        if self.std is not None:
            built.get_layer("preprocessing").std = self.std
        return built

    @contextlib.contextmanager
    def open(self, path: pathlib.Path) -> Iterator[list[BinaryIO]]:
        """Opens the file of a checkpoint, as `read` takes it."""
        with open_plain(path) as stream:
            yield [stream]

    def read(self, stream: BinaryIO) -> tuple[str, float, dict[str, np.ndarray]]:
        """Reads the weights of the encoder from an open file.

        Returns:
            (name of the encoder, its width as a multiple of 64 channels, {variable: array}).
        """
        with torch_file.opened(stream) as checkpoint:
            state, prefix = self._state(checkpoint.value)
            shapes = {key: getattr(value, "shape", None) for key, value in state.items()}
            bare = {key.removeprefix(prefix): shape for key, shape in shapes.items() if shape}
            encoder, channels = architectures.recognize(bare)
            wanted = _wanted(prefix, architectures.FAMILIES[encoder].layers(channels))
            expected = {key: shape for key, (_, shape) in wanted.items()}
            checks.check_keys(expected, shapes, (*self.dropped, COUNTER), self.name)
            tensors = {key: state[key] for key in expected}
            _check_size(os.fstat(stream.fileno()).st_size, tensors.values())
            arrays = {}
            for key, array in checkpoint.arrays(tensors):
                array = checks.check_values(key, array)
                variable, _ = wanted[key]
                if array.ndim == 4:  # of a kernel
                    array = np.ascontiguousarray(array.transpose(2, 3, 1, 0))
                arrays[variable] = array
        return encoder, channels / 64, arrays

    def _state(self, value):
        for layout in self.layouts:
            if (state := layout.state(value)) is not None:
                return state, layout.prefix
        keys = " or ".join(_first_key(layout) for layout in self.layouts)
        raise ValueError(
            f"A checkpoint of the format {self.name!r} must have {keys}; received "
            f"{_outline(value)}.{_suggestion(value)}"
        )


def _wanted(prefix, layers):
    """{key: (our variable, shape in the file)}; kernels are [out, in, height, width] there."""
    found = {}
    for layer in layers:
        height, width, inputs, outputs = layer.shape
        shape = (outputs, inputs, height, width)
        found[f"{prefix}{layer.conv}.weight"] = f"{layer.name}_conv/kernel", shape
        for theirs, ours in zip(NORMALIZATION, architectures.NORMALIZATION, strict=True):
            key = f"{prefix}{layer.norm}.{theirs}"
            found[key] = f"{layer.name}_norm/{ours}", (outputs,)
    return found


def _check_size(size, tensors):
    """Refuses shared or overlapping storages, which could turn a small file into a huge network."""
    storages = {tensor.storage for tensor in tensors}
    needed = sum(tensor.size * tensor.storage.dtype.itemsize for tensor in tensors)
    if max(needed, sum(storage.nbytes for storage in storages)) > size:
        raise ValueError(
            f"The encoder's tensors have {needed} bytes, more than the file: they share storages."
        )


def _first_key(layout):
    nested = "".join(f"[{key!r}]" for key in layout.path)
    return f"{layout.prefix + 'conv1.weight'!r} in {nested or 'its top level'}"


def _outline(value):
    if not isinstance(value, dict):
        return f"a {type(value).__name__}"
    keys = ", ".join(repr(str(key)[:80]) for key in list(value)[:5])
    return f"a dict of {len(value)} keys: {keys or 'none'}{', …' if len(value) > 5 else ''}"


def _suggestion(value):
    fitting = [
        name
        for name, other in TORCH_FORMATS.items()
        if any(layout.state(value) is not None for layout in other.layouts)
    ]
    return f" It may be of the format {' or '.join(map(repr, fitting))}." if fitting else ""


SWAV_STD = (0.228 * 255, 0.224 * 255, 0.225 * 255)
"""SwAV has .228 for red, all others .229: github.com/facebookresearch/swav, eval_linear.py."""

_MOCO_LAYOUTS = (
    Layout(("state_dict",), "module.encoder_q."),
    Layout(("state_dict",), "encoder_q."),
)
_MOCO_DROPPED = (r"(module\.)?(encoder_q\.fc\.|encoder_k\.|queue(_ptr)?$)",)

TORCH_FORMATS = {
    known.name: known
    for known in [
        TorchFormat(  # github.com/pytorch/vision, torchvision/models/resnet.py
            "torchvision",
            "ResNet-18, 34 or 50 with torchvision's names, with or without a classifier.",
            (
                Layout((), ""),
                Layout(("state_dict",), "module."),
                Layout(("state_dict",), ""),
                Layout(("model",), ""),
            ),
            (r"(module\.)?fc\.(weight|bias)$",),
        ),
        TorchFormat(  # github.com/facebookresearch/moco, moco/builder.py
            "moco", "MoCo v1 and v2: the query encoder.", _MOCO_LAYOUTS, _MOCO_DROPPED
        ),
        TorchFormat(  # github.com/facebookresearch/moco-v3, moco/builder.py
            "moco_v3",
            "MoCo v3, ResNet-50: the base encoder.",
            (Layout(("state_dict",), "module.base_encoder."),),
            (r"module\.base_encoder\.fc\.", r"module\.momentum_encoder\.", r"module\.predictor\."),
        ),
        TorchFormat(  # github.com/salesforce/PCL, pcl/builder.py
            "pcl", "PCL v1 and v2: the query encoder.", _MOCO_LAYOUTS, _MOCO_DROPPED
        ),
        TorchFormat(  # github.com/facebookresearch/swav, src/resnet50.py
            "swav",
            "SwAV, DeepCluster-v2 and SeLa-v2 of the SwAV authors.",
            (Layout((), "module."), Layout(("state_dict",), "module.")),
            (r"module\.projection_head\.", r"module\.prototypes\."),
            std=SWAV_STD,
        ),
        TorchFormat(  # github.com/facebookresearch/vissl, vissl/models/trunks/resnext.py
            "vissl",
            "VISSL's ResNets: PIRL, NPID, NPID++, SimCLR, SwAV and others.",
            (Layout(("classy_state_dict", "base_model", "model", "trunk"), "_feature_blocks."),),
        ),
        TorchFormat(  # github.com/zhirongw/lemniscate.pytorch, models/resnet.py
            "instdisc",
            "InstDisc (NPID) of its authors.",
            (Layout(("state_dict",), "module."),),
            (r"module\.fc\.(weight|bias)$",),
        ),
        TorchFormat(  # github.com/facebookresearch/barlowtwins, main.py
            "barlow_twins",
            "Barlow Twins: the encoder alone, or the full checkpoint.",
            (Layout((), ""), Layout(("model",), "module.backbone.")),
            (r"module\.projector\.", r"module\.bn\."),
        ),
        TorchFormat(  # github.com/facebookresearch/vicreg, main_vicreg.py and resnet.py
            "vicreg",
            "VICReg, ResNet-50 of any width: the encoder alone, or the full checkpoint.",
            (Layout((), ""), Layout(("model",), "module.backbone.")),
            (r"module\.projector\.",),
        ),
        TorchFormat(  # github.com/facebookresearch/simsiam, simsiam/builder.py
            "simsiam",
            "SimSiam, ResNet-50: the encoder.",
            (
                Layout(("state_dict",), "module.encoder."),
                Layout(("state_dict",), "encoder."),
            ),
            (r"(module\.)?(encoder\.fc|predictor)\.",),
        ),
        TorchFormat(  # lightning.ai, LightningModule.state_dict
            "lightning",
            "A Lightning module whose ResNet is called `backbone`.",
            (Layout(("state_dict",), "backbone."),),
            (r"backbone\.fc\.", r"(?!backbone\.)"),  # other modules belong to training
        ),
        TorchFormat(  # github.com/facebookresearch/dino, main_dino.py
            "dino",
            "DINO, ResNet-50: the encoder alone, or the teacher of the full checkpoint.",
            (
                Layout((), ""),
                Layout(("teacher",), "module.backbone."),
                Layout(("teacher",), "backbone."),
            ),
            (r"(module\.)?head\.",),
        ),
    ]
}
