"""Residual networks (He et al. 2016), in the form that contrastive papers use.

Version 1.5: the stride of a bottleneck stands in its 3×3 convolution. Convolutions pad by half
their kernel on every side, as the published networks do, so that their weights can be used here;
Keras' own "same" pads differently at stride 2.
"""

import keras

from cl_keras.encoders.batch_norm import BatchNormalization
from cl_keras.encoders.preprocessing import preprocessing

STEMS = ("imagenet", "small")
SMALL_IMAGE = 64
"""Up to this side in pixels the default stem keeps the resolution."""


def resnet18(**options):
    """ResNet-18: 11 M parameters, 512 features. Options as for `resnet`."""
    return resnet([2, 2, 2, 2], basic_block, name=options.pop("name", "resnet18"), **options)


def resnet34(**options):
    """ResNet-34: 21 M parameters, 512 features. Options as for `resnet`."""
    return resnet([3, 4, 6, 3], basic_block, name=options.pop("name", "resnet34"), **options)


def resnet50(**options):
    """ResNet-50 v1.5: 24 M parameters, 2048 features. Options as for `resnet`."""
    return resnet([3, 4, 6, 3], bottleneck_block, name=options.pop("name", "resnet50"), **options)


def small_resnet(
    *, image_size=28, channels=1, width=1.0, zero_init_residual=False, name="small_resnet"
):
    """A ResNet for CPUs and images of 28 to 64 pixels: 0.3 M parameters, 128 features.

    A 3×3 stem of stride 2 and three basic blocks of widths 32, 64 and 128.

    Args:
        image_size: side in pixels that it is meant for; any other is accepted.
        channels: 1 or 3.
        width: multiplier of all widths.
        zero_init_residual: start every block as the identity (its last γ at 0).
    """
    inputs = keras.Input([None, None, channels], name="images")
    x = preprocessing(channels, image_size)(inputs)
    x = conv_norm(x, round(32 * width), 3, stride=2, name="stem")
    for stage, features in enumerate((32, 64, 128)):
        stride = 1 if stage == 0 else 2
        name_ = f"stage{stage}_block0"
        x = basic_block(x, round(features * width), stride, zero_init_residual, name=name_)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, x, name=name)


def resnet(
    blocks,
    block,
    *,
    image_size=224,
    channels=3,
    stem=None,
    width=1.0,
    zero_init_residual=False,
    name="resnet",
):
    """A ResNet of four stages, from images to a vector.

    Args:
        blocks: number of blocks in each of the four stages.
        block: `basic_block` or `bottleneck_block`.
        image_size: side in pixels that it is meant for; any other is accepted.
        channels: 1 or 3.
        stem: `"imagenet"` (7×7 of stride 2, then max pooling) or `"small"` (3×3 of stride 1, no
            pooling; for CIFAR); default: `"small"` up to 64 pixels.
        width: multiplier of all widths.
        zero_init_residual: start every block as the identity (its last γ at 0; Goyal et al. 2017).

    Returns:
        A `keras.Model` from `[B, H, W, channels]`, uint8 or float in 0..255, to `[B, D]`.

    Raises:
        ValueError: for an unknown stem.
    """
    stem = stem or ("small" if image_size <= SMALL_IMAGE else "imagenet")
    if stem not in STEMS:
        raise ValueError(f"stem must be one of {STEMS}; received {stem!r}.")
    inputs = keras.Input([None, None, channels], name="images")
    x = preprocessing(channels, image_size)(inputs)
    if stem == "imagenet":
        x = conv_norm(x, round(64 * width), 7, stride=2, name="stem")
        x = keras.layers.ZeroPadding2D(1, name="stem_pool_pad")(x)  # after ReLU 0 is the least
        x = keras.layers.MaxPooling2D(3, strides=2, name="stem_pool")(x)
    else:
        x = conv_norm(x, round(64 * width), 3, name="stem")
    for stage, count in enumerate(blocks):
        for i in range(count):
            stride = 2 if stage > 0 and i == 0 else 1
            features = round(64 * 2**stage * width)
            x = block(x, features, stride, zero_init_residual, name=f"stage{stage}_block{i}")
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(inputs, x, name=name)


def basic_block(x, features, stride, zero_init, *, name):
    """Two 3×3 convolutions beside a shortcut."""
    shortcut = _shortcut(x, features, stride, name)
    x = conv_norm(x, features, 3, stride=stride, name=f"{name}_1")
    x = conv_norm(x, features, 3, relu=False, zero_init=zero_init, name=f"{name}_2")
    return _add_relu(x, shortcut, name)


def bottleneck_block(x, features, stride, zero_init, *, name):
    """1×1, 3×3 and 1×1 convolutions, the last four times as wide, beside a shortcut."""
    shortcut = _shortcut(x, 4 * features, stride, name)
    x = conv_norm(x, features, 1, name=f"{name}_1")
    x = conv_norm(x, features, 3, stride=stride, name=f"{name}_2")
    x = conv_norm(x, 4 * features, 1, relu=False, zero_init=zero_init, name=f"{name}_3")
    return _add_relu(x, shortcut, name)


def conv_norm(x, features, kernel, *, stride=1, relu=True, zero_init=False, name):
    """Convolution without bias, batch normalisation, ReLU."""
    padding = "same"
    if stride > 1 and kernel > 1:
        x = keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(x)
        padding = "valid"
    x = keras.layers.Conv2D(
        features,
        kernel,
        strides=stride,
        padding=padding,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=f"{name}_conv",
    )(x)
    gamma = "zeros" if zero_init else "ones"
    x = BatchNormalization(gamma_initializer=gamma, name=f"{name}_norm")(x)
    return keras.layers.ReLU(name=f"{name}_relu")(x) if relu else x


def _shortcut(x, features, stride, name):
    if stride == 1 and x.shape[-1] == features:
        return x
    return conv_norm(x, features, 1, stride=stride, relu=False, name=f"{name}_shortcut")


def _add_relu(x, shortcut, name):
    x = keras.layers.Add(name=f"{name}_add")([x, shortcut])
    return keras.layers.ReLU(name=f"{name}_relu")(x)
