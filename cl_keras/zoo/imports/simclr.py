"""Official checkpoints of SimCLR v1 and v2, written by TensorFlow 1.

Their network differs from torchvision's in two ways: pixels are only scaled to 0..1, and the max
pooling after the stem has TensorFlow's "SAME" padding, which begins at the end.
"""

import contextlib
import pathlib
import re
from collections.abc import Iterator
from typing import BinaryIO

import keras
import numpy as np

from cl_keras.files import open_plain
from cl_keras.zoo.imports import architectures, checks, tensor_bundle, zips

ENCODER = "resnet50"
FAMILY = architectures.FAMILIES[ENCODER]
DROPPED = (
    r"global_step$",
    r"head_(supervised|contrastive)/",
    r"ema_model/",  # a moving average of the whole model, not used for the published metrics
    r"(.*/)?(Momentum|LARSOptimizer)",
)
_INDEX = re.compile(r"(?:.*/)?model\.ckpt-\d+\.index")
_DATA = ".data-00000-of-00001"


class SimCLRFormat:
    """The format of SimCLR's checkpoints; see `torch_formats.TorchFormat`."""

    name = "simclr"
    description = "SimCLR v1 and v2, ResNet-50 without selective kernels: TensorFlow checkpoints."

    def network(self, encoder: str, *, width: float, image_size: int) -> keras.Model:
        """The encoder with fresh weights; see github.com/google-research/simclr, resnet.py."""
        built = FAMILY.build(width=width, image_size=image_size, stem="imagenet", name=encoder)
        preprocessing = built.get_layer("preprocessing")
        preprocessing.mean, preprocessing.std = (0.0,) * 3, (255.0,) * 3
        built.get_layer("stem_pool_pad").padding = ((0, 0), (0, 0))
        built.get_layer("stem_pool").padding = "same"
        return built

    @contextlib.contextmanager
    def open(self, path: pathlib.Path) -> Iterator[list[BinaryIO]]:
        """Opens the files of a checkpoint, as `read` takes them.

        Args:
            path: path of the `.index` file, the common prefix of the `.index` and `.data` files, a
                folder with one checkpoint, or a zip archive of it.
        """
        if path.is_dir():
            path = _only(sorted(path.glob("model.ckpt-*.index")), "folder")
        prefix = str(path).removesuffix(".index")
        if path.is_file() and prefix == str(path):
            with open_plain(path) as archive:
                yield [archive]
        else:
            with open_plain(f"{prefix}.index") as index, open_plain(prefix + _DATA) as data:
                yield [index, data]

    def read(
        self, stream: BinaryIO, data: BinaryIO | None = None
    ) -> tuple[str, float, dict[str, np.ndarray]]:
        """Reads the weights of the encoder; see `TorchFormat.read`.

        Args:
            stream: the open index, or without `data`, an open zip archive with both files.
            data: the open data file; default: None.
        """
        if data is not None:
            return self._read(stream, data, data.seek(0, 2))
        most = 4 * stream.seek(0, 2) + 2**20  # weights hardly compress
        with zips.opened(stream) as archive:
            names = archive.namelist()
            index_name = _only([name for name in names if _INDEX.fullmatch(name)], "archive")
            data_name = index_name.removesuffix(".index") + _DATA
            if data_name not in names:
                raise ValueError(f"The archive lacks {data_name!r}.")
            sizes = [archive.getinfo(name).file_size for name in (index_name, data_name)]
            if max(sizes) > most:
                raise ValueError("The checkpoint is too large for its archive.")
            with zips.damage(), archive.open(index_name) as index, archive.open(data_name) as rest:
                return self._read(index, rest, sizes[1])

    def _read(self, index, data, size):
        entries = tensor_bundle.read_index(index)
        shapes = {key: tensor_bundle.shape_of(entry) for key, entry in entries.items()}
        channels = self._channels(shapes)
        wanted = _wanted(FAMILY.layers(channels))
        expected = {key: shape for key, (_, shape) in wanted.items()}
        checks.check_keys(expected, shapes, DROPPED, self.name)
        tensors = {key: entries[key] for key in expected}
        if sum(entry.size for entry in tensors.values()) > size:
            raise ValueError(f"The encoder does not fit into the {size} bytes of its file.")
        arrays = {
            wanted[key][0]: checks.check_values(key, array)
            for key, array in tensor_bundle.read_arrays(data, tensors)
        }
        return ENCODER, channels / 64, arrays

    def _channels(self, shapes):
        kernel = shapes.get("base_model/conv2d/kernel")
        if kernel is None or kernel[:3] != (7, 7, 3):
            raise ValueError(
                f"A checkpoint of the format {self.name!r} must have 'base_model/conv2d/kernel' of "
                f"the shape [7, 7, 3, channels]; received {kernel} among {sorted(shapes)[:3]}. "
                "Networks with selective kernels, or for CIFAR, are not supported."
            )
        return architectures.check_width(kernel[3:])


def _only(found, where):
    if len(found) != 1:
        raise ValueError(
            f"The {where} must have one checkpoint, a file 'model.ckpt-<step>.index'; it has "
            f"{len(found)}."
        )
    return found[0]


def _wanted(layers):
    """{key: (our variable, shape)}; TensorFlow numbers layers in their order of creation."""
    found = {}
    for i, layer in enumerate(layers):
        number = f"_{i}" if i else ""
        found[f"base_model/conv2d{number}/kernel"] = f"{layer.name}_conv/kernel", layer.shape
        for part in architectures.NORMALIZATION:
            key = f"base_model/batch_normalization{number}/{part}"
            found[key] = f"{layer.name}_norm/{part}", layer.shape[-1:]
    return found
