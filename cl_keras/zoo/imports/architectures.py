"""Recognizes the ResNet of a checkpoint, and maps the names of its layers to ours."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import keras

from cl_keras import encoders

NORMALIZATION = ("gamma", "beta", "moving_mean", "moving_variance")
"""The variables of a batch normalization."""
MAX_WIDTH = 5
"""Largest multiple of the usual width, that of the widest published ResNet-50."""


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution and the batch normalization after it.

    Attributes:
        name: name of the pair in our encoders: `stem` for `stem_conv` and `stem_norm`.
        conv, norm: their names in torchvision's ResNets.
        shape: shape of the kernel in Keras: height, width, input and output channels.
    """

    name: str
    conv: str
    norm: str
    shape: tuple[int, int, int, int]


@dataclasses.dataclass(frozen=True)
class Family:
    """The shape of a ResNet at any width."""

    blocks: tuple[int, int, int, int]
    convolutions: int
    """Per block: 2 in a basic one, 3 in a bottleneck."""
    build: Callable[..., keras.Model]

    def layers(self, width: int) -> list[Layer]:
        """All layers of a network whose stem has `width` channels, as TensorFlow creates them."""
        found = [Layer("stem", "conv1", "bn1", (7, 7, 3, width))]
        expansion = 4 if self.convolutions == 3 else 1
        channels = width
        for stage, count in enumerate(self.blocks):
            inner = width * 2**stage
            for block in range(count):
                ours, theirs = f"stage{stage}_block{block}", f"layer{stage + 1}.{block}"
                if channels != inner * expansion:
                    names = (f"{theirs}.downsample.0", f"{theirs}.downsample.1")
                    shape = (1, 1, channels, inner * expansion)
                    found.append(Layer(f"{ours}_shortcut", *names, shape))
                basic, bottleneck = [(3, inner)] * 2, [(1, inner), (3, inner), (1, 4 * inner)]
                kernels = basic if self.convolutions == 2 else bottleneck
                for i, (kernel, outputs) in enumerate(kernels, start=1):
                    names = (f"{theirs}.conv{i}", f"{theirs}.bn{i}")
                    shape = (kernel, kernel, channels, outputs)
                    found.append(Layer(f"{ours}_{i}", *names, shape))
                    channels = outputs
        return found


FAMILIES = {
    "resnet18": Family((2, 2, 2, 2), 2, encoders.resnet18),
    "resnet34": Family((3, 4, 6, 3), 2, encoders.resnet34),
    "resnet50": Family((3, 4, 6, 3), 3, encoders.resnet50),
}


def recognize(names: Mapping[str, Sequence[int]]) -> tuple[str, int]:
    """The family of a ResNet, and the channels of its stem, from {torchvision's name: shape}."""
    blocks = tuple(
        sum(f"layer{stage}.{block}.conv1.weight" in names for block in range(64))
        for stage in (1, 2, 3, 4)
    )
    convolutions = sum(f"layer1.0.conv{i}.weight" in names for i in (1, 2, 3))
    for name, family in FAMILIES.items():
        if (family.blocks, family.convolutions) == (blocks, convolutions):
            return name, check_width(names.get("conv1.weight", ())[:1])
    known = ", ".join(
        f"{name} with {family.convolutions} convolutions in each of {family.blocks}"
        for name, family in FAMILIES.items()
    )
    raise ValueError(
        f"It must be one of {known} blocks; received {convolutions} in each of {blocks}."
    )


def check_width(shape: Sequence[int]) -> int:
    """The channels of a stem, from the end of its kernel's shape, if they are not too many."""
    if len(shape) != 1 or not 1 <= shape[0] <= 64 * MAX_WIDTH:
        raise ValueError(
            f"The stem must have 1 to {64 * MAX_WIDTH} output channels; "
            f"received {[*shape] or 'no kernel'}."
        )
    return shape[0]
