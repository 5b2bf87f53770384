"""Official checkpoints of SimCLR v1 and v2, written by TensorFlow 1.

Their network differs from torchvision's in two ways: pixels are only scaled to 0..1, and the max
pooling after the stem has TensorFlow's "SAME" padding, which begins at the end.
"""

import contextlib
import re

import keras

from cl_keras.encoders.preprocessing import Preprocessing
from cl_keras.encoders.resnet import bottleneck_block, conv_norm
from cl_keras.files import open_plain
from cl_keras.zoo.imports import architectures, fill, tensor_bundle, zips

ENCODER = "resnet50"
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

    def network(self, encoder, *, width, image_size):
        """The encoder with fresh weights; see github.com/google-research/simclr, resnet.py."""
        if encoder != ENCODER:
            raise ValueError(f"SimCLR's checkpoints are read into {ENCODER}; received {encoder!r}.")
        images = keras.Input([None, None, 3], name="images")
        x = Preprocessing((0,) * 3, (255,) * 3, image_size=image_size, name="preprocessing")(images)
        x = conv_norm(x, round(64 * width), 7, stride=2, name="stem")
        x = keras.layers.MaxPooling2D(3, strides=2, padding="same", name="stem_pool")(x)
        for stage, count in enumerate(architectures.FAMILIES[ENCODER].blocks):
            for i in range(count):
                stride = 2 if stage > 0 and i == 0 else 1
                features = round(64 * 2**stage * width)
                x = bottleneck_block(x, features, stride=stride, name=f"stage{stage}_block{i}")
        x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
        return keras.Model(images, x, name=ENCODER)

    @contextlib.contextmanager
    def open(self, path):
        """Opens the files of a checkpoint, as `read` takes them.

        Args:
            path: path of the `.index` file, the common prefix of the `.index` and `.data` files, a
                folder with one checkpoint, or a zip archive of it.
        """
        if path.is_dir():
            found = sorted(path.glob("model.ckpt-*.index"))
            if len(found) != 1:
                raise ValueError(
                    f"The folder must have one checkpoint, a file 'model.ckpt-<step>.index'; it "
                    f"has {len(found)}."
                )
            path = found[0]
        prefix = str(path).removesuffix(".index")
        if path.is_file() and prefix == str(path):
            with open_plain(path) as archive:
                yield [archive]
        else:
            with open_plain(f"{prefix}.index") as index, open_plain(prefix + _DATA) as data:
                yield [index, data]

    def read(self, stream, data=None):
        """Reads the weights of the encoder; see `TorchFormat.read`.

        Args:
            stream: the open index, or without `data`, an open zip archive with both files.
            data: the open data file; default: None.
        """
        if data is not None:
            return self._read(stream, data, data.seek(0, 2))
        most = 4 * stream.seek(0, 2) + 2**20  # weights hardly compress
        with zips.opened(stream) as archive:
            found = [name for name in archive.namelist() if _INDEX.fullmatch(name)]
            if len(found) != 1:
                raise ValueError(
                    "The archive must have one checkpoint, a file 'model.ckpt-<step>.index'; it "
                    f"has {len(found)}."
                )
            members = [found[0], found[0].removesuffix(".index") + _DATA]
            if lacking := set(members) - set(archive.namelist()):
                raise ValueError(f"The archive lacks {lacking.pop()!r}.")
            sizes = [archive.getinfo(member).file_size for member in members]
            if max(sizes) > most:
                raise ValueError("The checkpoint is too large for its archive.")
            with zips.damage(), archive.open(members[0]) as index, archive.open(members[1]) as data:
                return self._read(index, data, sizes[1])

    def _read(self, index, data, size):
        entries = tensor_bundle.read_index(index)
        shapes = {key: tensor_bundle.shape_of(entry) for key, entry in entries.items()}
        channels = self._channels(shapes)
        keys = {
            key: name
            for i, layer in enumerate(architectures.FAMILIES[ENCODER].layers(channels))
            for key, name in _keys(i, layer).items()
        }
        fill.check_keys({key: shape for key, (_, shape) in keys.items()}, shapes, _drops, self.name)
        wanted = {key: entries[key] for key in keys}
        if sum(entry.size for entry in wanted.values()) > size:
            raise ValueError(f"The encoder does not fit into the {size} bytes of its file.")
        arrays = {
            keys[key][0]: fill.check_values(key, array)
            for key, array in tensor_bundle.read_arrays(data, wanted)
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


def _keys(i, layer):
    """{key: (our variable, shape)} of the i-th convolution and normalization."""
    number = f"_{i}" if i else ""
    norm = f"base_model/batch_normalization{number}"
    found = {f"base_model/conv2d{number}/kernel": (f"{layer.name}_conv/kernel", layer.shape)}
    for part in ("gamma", "beta", "moving_mean", "moving_variance"):
        found[f"{norm}/{part}"] = (f"{layer.name}_norm/{part}", layer.shape[-1:])
    return found


def _drops(key):
    return any(re.match(pattern, key) for pattern in DROPPED)
