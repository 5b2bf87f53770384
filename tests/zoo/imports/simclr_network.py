"""SimCLR's ResNet-50 as plain TensorFlow operations over named arrays, and its checkpoints.

The variables are numbered in the order in which TensorFlow 1 makes them: the stem, and in every
block the shortcut before the convolutions.
"""

import zipfile

import numpy as np
import tensorflow as tf

BLOCKS = (3, 4, 6, 3)


def variables(width=64, seed=0):
    """Random weights and statistics of the network: {name: array}."""
    rng = np.random.default_rng(seed)
    found = {}
    for i, shape in enumerate(_kernels(width)):
        number = f"_{i}" if i else ""
        fan_in = np.prod(shape[:3])
        found[f"base_model/conv2d{number}/kernel"] = rng.normal(0, fan_in**-0.5, shape)
        norm, channels = f"base_model/batch_normalization{number}", shape[3]
        found[f"{norm}/gamma"] = rng.uniform(0.5, 1.5, channels)
        found[f"{norm}/beta"] = rng.normal(0, 0.2, channels)
        found[f"{norm}/moving_mean"] = rng.normal(0, 0.3, channels)
        found[f"{norm}/moving_variance"] = rng.uniform(0.5, 2, channels)
    return {name: array.astype("float32") for name, array in found.items()}


def beside(values):
    """What a checkpoint of the second version holds beside the encoder: {name: array}."""
    momentum = {f"{name}/Momentum": np.zeros_like(array) for name, array in values.items()}
    averages = {f"ema_model/{name}": array + 1 for name, array in values.items()}
    head = {
        "head_contrastive/nl_0/dense/kernel": np.zeros([4, 4], "float32"),
        "head_contrastive/nl_0/batch_normalization/gamma": np.zeros([4], "float32"),
        "head_supervised/linear_layer/dense/kernel": np.zeros([4, 10], "float32"),
        "head_supervised/linear_layer/dense/kernel/Momentum": np.zeros([4, 10], "float32"),
        "head_supervised/linear_layer/dense/bias": np.zeros([10], "float32"),
    }
    return momentum | averages | head | {"global_step": np.array(250228, "int64")}


def features(values, images):
    """The output of the network for uint8 images `[B, H, W, 3]`."""
    x = tf.constant(images, tf.float32) / 255.0
    layers = _Layers(values)
    x = tf.nn.relu(layers(x, 2))
    x = tf.nn.max_pool2d(x, 3, 2, "SAME")
    for stage, count in enumerate(BLOCKS):
        for block in range(count):
            stride = 2 if stage and not block else 1
            shortcut = layers(x, stride) if not block else x
            y = tf.nn.relu(layers(x, 1))
            y = tf.nn.relu(layers(y, stride))
            x = tf.nn.relu(layers(y, 1) + shortcut)
    return tf.reduce_mean(x, [1, 2]).numpy()


class _Layers:
    """The next convolution and its normalization, at each call."""

    def __init__(self, values):
        self.values, self.count = values, 0

    def __call__(self, x, stride):
        number = f"_{self.count}" if self.count else ""
        self.count += 1
        kernel = self.values[f"base_model/conv2d{number}/kernel"]
        padding = "SAME"
        if stride > 1:
            before = (kernel.shape[0] - 1) // 2
            sides = [before, kernel.shape[0] - 1 - before]
            x, padding = tf.pad(x, [[0, 0], sides, sides, [0, 0]]), "VALID"
        x = tf.nn.conv2d(x, kernel, stride, padding)
        parts = [
            self.values[f"base_model/batch_normalization{number}/{part}"]
            for part in ("moving_mean", "moving_variance", "beta", "gamma")
        ]
        return tf.nn.batch_normalization(x, *parts, variance_epsilon=1e-5)


def save(values, prefix):
    """Writes a checkpoint by names, like TensorFlow 1's Saver: `<prefix>.index` and its data."""
    tf.raw_ops.SaveV2(
        prefix=str(prefix),
        tensor_names=list(values),
        shape_and_slices=[""] * len(values),
        tensors=[tf.constant(value) for value in values.values()],
    )


def save_zip(values, path, folder, compression=zipfile.ZIP_DEFLATED):
    """Writes an archive as of the first version: a checkpoint, and a module of TensorFlow Hub."""
    prefix = folder / "model.ckpt-225206"
    save(values, prefix)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for ending in (".index", ".data-00000-of-00001"):
            archive.write(f"{prefix}{ending}", f"ResNet50_1x/{prefix.name}{ending}")
            archive.writestr(f"ResNet50_1x/hub/variables/variables{ending}", b"of another form")
        archive.writestr("ResNet50_1x/checkpoint", b"model_checkpoint_path: ...")


def _kernels(width):
    """The shape of every kernel, in order of creation."""
    yield 7, 7, 3, width
    channels = width
    for stage, count in enumerate(BLOCKS):
        inner = width * 2**stage
        for block in range(count):
            if not block:
                yield 1, 1, channels, 4 * inner
            yield 1, 1, channels, inner
            yield 3, 3, inner, inner
            yield 1, 1, inner, 4 * inner
            channels = 4 * inner
