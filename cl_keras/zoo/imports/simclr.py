"""Official checkpoints of SimCLR v1 and v2, which TensorFlow 1 has written.

Their network differs from torchvision's in two ways: pixels are only brought to 0..1, and the max
pooling behind the stem pads as TensorFlow's "SAME" does, at the end first.
"""

import contextlib
import pathlib
import re
import shutil
import tempfile
import zipfile

import keras
import tensorflow as tf

from cl_keras.encoders.preprocessing import Preprocessing
from cl_keras.encoders.resnet import bottleneck_block, conv_norm
from cl_keras.zoo.imports import architectures, fill

ENCODER = "resnet50"
DROPPED = (
    r"global_step$",
    r"head_(supervised|contrastive)/",
    r"ema_model/",  # a moving average of the whole model; the published figures are without it
    r"(.*/)?(Momentum|LARSOptimizer)",
)
_INDEX = re.compile(r"(?:.*/)?model\.ckpt-\d+\.index")
_DATA = ".data-00000-of-00001"


class SimCLRFormat:
    """The form of SimCLR's checkpoints; as `torch_formats.TorchFormat`."""

    name = "simclr"
    description = "SimCLR v1 and v2, ResNet-50 without selective kernels: TensorFlow checkpoints."

    def network(self, encoder, *, width, image_size):
        """The encoder with fresh weights: github.com/google-research/simclr, resnet.py."""
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

    def read(self, path):
        """The weights of the encoder; as `TorchFormat.read`.

        Args:
            path: of the `.index` file, of what it and the `.data` file begin with, of a folder
                that holds one checkpoint, or of a zip archive that does.
        """
        path = pathlib.Path(path)
        with _prefix(path) as prefix, _tensorflow_errors(path):
            reader = tf.train.load_checkpoint(prefix)
            shapes = {
                key: tuple(shape) for key, shape in reader.get_variable_to_shape_map().items()
            }
            channels = self._channels(shapes)
            keys = {
                key: name
                for i, layer in enumerate(architectures.FAMILIES[ENCODER].layers(channels))
                for key, name in _keys(i, layer).items()
            }
            fill.check_keys(
                {key: shape for key, (_, shape) in keys.items()}, shapes, _drops, self.name
            )
            arrays = {
                name: fill.check_values(key, reader.get_tensor(key))
                for key, (name, _) in keys.items()
            }
        return ENCODER, channels / 64, arrays

    def _channels(self, shapes):
        kernel = shapes.get("base_model/conv2d/kernel")
        if kernel is None or kernel[:3] != (7, 7, 3):
            raise ValueError(
                f"A checkpoint of the format {self.name!r} must have 'base_model/conv2d/kernel' of "
                f"the shape [7, 7, 3, channels]; received {kernel} among {sorted(shapes)[:3]}. "
                "Networks with selective kernels, or for CIFAR, are not read."
            )
        return architectures.check_width(kernel[3:])


def _keys(i, layer):
    """{key: (variable of ours, shape)} of the i-th convolution and normalization made."""
    number = f"_{i}" if i else ""
    norm = f"base_model/batch_normalization{number}"
    found = {f"base_model/conv2d{number}/kernel": (f"{layer.name}_conv/kernel", layer.shape)}
    for part in ("gamma", "beta", "moving_mean", "moving_variance"):
        found[f"{norm}/{part}"] = (f"{layer.name}_norm/{part}", layer.shape[-1:])
    return found


def _drops(key):
    return any(re.match(pattern, key) for pattern in DROPPED)


@contextlib.contextmanager
def _tensorflow_errors(path):
    try:
        yield
    except (ValueError, IndexError, RuntimeError, tf.errors.OpError) as error:
        raise ValueError(f"{path.name}: {getattr(error, 'message', error)}") from error


@contextlib.contextmanager
def _prefix(path):
    """What the names of a checkpoint's files begin with."""
    if path.is_dir():
        found = sorted(path.glob("model.ckpt-*.index"))
        if len(found) != 1:
            raise ValueError(
                f"{path} must hold one checkpoint, a file 'model.ckpt-<step>.index'; it holds "
                f"{len(found)}."
            )
        yield str(found[0].with_suffix(""))
    elif zipfile.is_zipfile(path):
        with tempfile.TemporaryDirectory() as folder:
            yield _unpack(path, pathlib.Path(folder))
    else:
        prefix = str(path).removesuffix(".index")
        pathlib.Path(f"{prefix}.index").stat()  # a missing file is an OSError that names it
        yield prefix


def _unpack(path, folder):
    """The two files of the checkpoint in an archive, under names of our own."""
    limit = 4 * path.stat().st_size + 2**20  # weights hardly become smaller by compression
    try:
        with zipfile.ZipFile(path) as archive:
            found = [name for name in archive.namelist() if _INDEX.fullmatch(name)]
            if len(found) != 1:
                raise ValueError(
                    "It must hold one checkpoint, a file 'model.ckpt-<step>.index'; it holds "
                    f"{len(found)}."
                )
            for ending in (".index", _DATA):
                info = archive.getinfo(found[0].removesuffix(".index") + ending)
                if info.file_size > limit:
                    raise ValueError(f"{info.filename!r} is too large for its archive.")
                with archive.open(info) as source, open(folder / f"model{ending}", "wb") as target:
                    shutil.copyfileobj(source, target)
    except KeyError as error:
        raise ValueError(f"{path.name}: {error.args[0]}") from error
    except (ValueError, zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError) as error:
        raise ValueError(f"{path.name}: {error}") from error
    return str(folder / "model")
