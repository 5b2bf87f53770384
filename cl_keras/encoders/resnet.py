"""Residual networks (He et al. 2016), as contrastive papers use them.

This is version 1.5, where the stride of a bottleneck is in its 3×3 convolution. Convolutions pad by
half of their kernel on all sides, as in the published networks, so that their weights can be used
here; the "same" padding of Keras differs at stride 2.
"""

import math
from collections.abc import Callable
from typing import Any

import keras

from cl_keras.encoders.batch_norm import BatchNormalization
from cl_keras.encoders.convolution import Convolution
from cl_keras.encoders.preprocessing import preprocessing

STEMS = ("imagenet", "small")
NORMS = ("batch", "layer", "group")
MAX_SMALL_IMAGE = 64
"""Largest side in pixels for which the default stem keeps the resolution."""
NUM_GROUPS = 32
"""Groups of group normalization, if they divide the channels (Wu & He 2018)."""


def resnet18(**options) -> keras.Model:
    """ResNet-18: 11 M parameters, 512 features. Options as for `resnet`."""
    return resnet([2, 2, 2, 2], basic_block, **{"name": "resnet18"} | options)


def resnet34(**options) -> keras.Model:
    """ResNet-34: 21 M parameters, 512 features. Options as for `resnet`."""
    return resnet([3, 4, 6, 3], basic_block, **{"name": "resnet34"} | options)


def resnet50(**options) -> keras.Model:
    """ResNet-50 v1.5: 24 M parameters, 2048 features. Options as for `resnet`."""
    return resnet([3, 4, 6, 3], bottleneck_block, **{"name": "resnet50"} | options)


def small_resnet(
    *,
    image_size: int = 28,
    channels: int = 1,
    width: float = 1.0,
    norm: str = "batch",
    zero_init_residual: bool = False,
    name: str = "small_resnet",
) -> keras.Model:
    """A ResNet for CPUs and images of 28 to 64 pixels: 0.3 M parameters, 128 features.

    A 3×3 stem of stride 2 and three basic blocks of widths 32, 64 and 128.

    Args:
        image_size: side in pixels for which it is meant, default: 28; any other is accepted.
        channels: 1 or 3; default: 1.
        width: factor of all widths; default: 1.
        norm: as for `resnet`.
        zero_init_residual: start blocks as the identity, with their last γ at 0; default: False.
    """
    inputs = keras.Input([None, None, channels], name="images")
    x = preprocessing(channels, image_size)(inputs)
    x = conv_norm(x, round(32 * width), 3, stride=2, norm=norm, name="stem")
    for stage, features in enumerate((32, 64, 128)):
        x = basic_block(
            x,
            round(features * width),
            stride=1 if stage == 0 else 2,
            norm=norm,
            zero_init=zero_init_residual,
            name=f"stage{stage}_block0",
        )
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, x, name=name)


def resnet(
    blocks: list[int],
    block: Callable,
    *,
    image_size: int = 224,
    channels: int = 3,
    stem: str | None = None,
    width: float = 1.0,
    norm: str = "batch",
    zero_init_residual: bool = False,
    name: str = "resnet",
) -> keras.Model:
    """A ResNet of four stages, from images to a vector.

    Args:
        blocks: number of blocks in each of the four stages.
        block: `basic_block` or `bottleneck_block`.
        image_size: side in pixels for which it is meant, default: 224; any other is accepted.
        channels: 1 or 3; default: 3.
        stem: `"imagenet"` (7×7 of stride 2, then max pooling) or `"small"` (3×3 of stride 1, no
            pooling; for CIFAR); default: `"small"` up to 64 pixels.
        width: factor of all widths; default: 1.
        norm: `"batch"` (default); `"group"` (32 groups, Wu & He 2018); or `"layer"`, a group of all
            positions and channels of an image. The last two use single images, so no information
            leaks through the batch.
        zero_init_residual: start blocks as the identity, with their last γ at 0 (Goyal et al.
            2017); default: False.

    Returns:
        A `keras.Model` from `[b, h, w, channels]`, uint8 or float in 0..255, to `[b, d]`.

    Raises:
        ValueError: for an unknown stem or norm.
    """
    stem = stem or ("small" if image_size <= MAX_SMALL_IMAGE else "imagenet")
    if stem not in STEMS:
        raise ValueError(f"stem must be one of {STEMS}; received {stem!r}.")
    inputs = keras.Input([None, None, channels], name="images")
    x = preprocessing(channels, image_size)(inputs)
    if stem == "imagenet":
        x = conv_norm(x, round(64 * width), 7, stride=2, norm=norm, name="stem")
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)  # 0 is the minimum of a ReLU
        x = keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    else:
        x = conv_norm(x, round(64 * width), 3, norm=norm, name="stem")
    for stage, count in enumerate(blocks):
        for i in range(count):
            x = block(
                x,
                round(64 * 2**stage * width),
                stride=2 if stage > 0 and i == 0 else 1,
                norm=norm,
                zero_init=zero_init_residual,
                name=f"stage{stage}_block{i}",
            )
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, x, name=name)


def basic_block(
    x: keras.KerasTensor,
    features: int,
    *,
    stride: int,
    norm: str = "batch",
    zero_init: bool = False,
    name: str,
) -> keras.KerasTensor:
    """Two 3×3 convolutions, with a shortcut."""
    shortcut = _shortcut(x, features, stride, norm, name)
    x = conv_norm(x, features, 3, stride=stride, norm=norm, name=f"{name}_1")
    last: dict[str, Any] = {"residual": shortcut, "norm": norm, "zero_init": zero_init}
    return conv_norm(x, features, 3, **last, name=f"{name}_2")


def bottleneck_block(
    x: keras.KerasTensor,
    features: int,
    *,
    stride: int,
    norm: str = "batch",
    zero_init: bool = False,
    name: str,
) -> keras.KerasTensor:
    """1×1, 3×3 and 1×1 convolutions, the last four times as wide, with a shortcut."""
    shortcut = _shortcut(x, 4 * features, stride, norm, name)
    x = conv_norm(x, features, 1, norm=norm, name=f"{name}_1")
    x = conv_norm(x, features, 3, stride=stride, norm=norm, name=f"{name}_2")
    last: dict[str, Any] = {"residual": shortcut, "norm": norm, "zero_init": zero_init}
    return conv_norm(x, 4 * features, 1, **last, name=f"{name}_3")


def conv_norm(
    x: keras.KerasTensor,
    features: int,
    kernel: int,
    *,
    stride: int = 1,
    norm: str = "batch",
    residual: keras.KerasTensor | None = None,
    relu: bool = True,
    zero_init: bool = False,
    name: str,
) -> keras.KerasTensor:
    """Convolution without bias, normalization, addition of `residual`, and ReLU."""
    padding = "same"
    if stride > 1 and kernel > 1:
        x = keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
        padding = "valid"
    x = Convolution(
        features,
        kernel,
        strides=stride,
        padding=padding,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=f"{name}_conv",
    )(x)
    gamma: dict[str, Any] = {
        "gamma_initializer": "zeros" if zero_init else "ones",
        "name": f"{name}_norm",
    }
    if norm == "batch":
        return BatchNormalization(activation="relu" if relu else None, **gamma)(x, residual)
    x = _normalization_of_each_image(norm, features, **gamma)(x)
    if residual is not None:
        x = keras.layers.Add(name=f"{name}_add")([x, residual])
    return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _normalization_of_each_image(norm, features, **options):
    if norm not in NORMS:
        raise ValueError(f"norm must be one of {NORMS}; received {norm!r}.")
    groups = 1 if norm == "layer" else math.gcd(NUM_GROUPS, features)
    return keras.layers.GroupNormalization(groups, epsilon=1e-5, **options)


def _shortcut(x, features, stride, norm, name):
    if stride == 1 and x.shape[-1] == features:
        return x
    return conv_norm(x, features, 1, stride=stride, norm=norm, relu=False, name=f"{name}_shortcut")
