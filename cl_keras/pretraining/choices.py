"""The choices of a plan that depend on the images and the machine, and need no timing."""

from cl_keras.data.summary import Summary
from cl_keras.pretraining.machine import Machine
from cl_keras.recipes.config import Config

DEFAULT_MINUTES = 20.0
MAX_CPU_SIDE, MAX_GPU_SIDE = 64, 224
MIN_SIDE = 16
MANY_IMAGES = 100_000
"""Minimum number of images for the larger encoder and the published recipe, on a GPU."""

MIN_STEPS_PER_EPOCH = 8
MIN_BATCH = 8

SPLIT, MAX_HELD_OUT = 0.2, 5000
"""Share of the images that are held out to evaluate the encoder, and their maximum number."""

MIN_SEEN, MIN_SHRUNK_SIDE = 100_000, 32
"""If training would process fewer images than this, with repeats, in the given time, their side is
halved, but to no less than this many pixels."""

MIN_SPLIT_IMAGES = 100
"""With fewer images, none are held out, since they would be too few."""


def choose(config: Config, summary: Summary, machine: Machine) -> Config:
    """The configuration with image size, channels, method, preset, batch and precision chosen.

    Values from the user do not change. If the user names a method, its published recipe is used.

    Args:
        config: the values from the user.
        summary: summary of the images.
        machine: the machine to train on.
    """
    named = config.method is not None
    size = config.image_size or image_size(summary, machine)
    chosen = {
        "image_size": size,
        "channels": config.channels or (1 if summary.gray else 3),
        "method": config.method or config.default_method,
        "precision": config.precision or machine.precision,
    }
    small = not machine.gpus or summary.num_images < MANY_IMAGES
    if config.split is None:
        chosen["split"] = 0.0 if named else held_out(config, summary)
    preset = config.preset or ("small" if small and not named else "published")
    chosen["preset"] = preset
    if preset == "small":
        chosen["batch_size"] = config.batch_size or batch_size(summary.num_images)
        if machine.gpus and config.encoder is None:
            chosen["encoder"] = "resnet18"
    if config.epochs is None and config.minutes is None and not named:
        chosen["minutes"] = DEFAULT_MINUTES
    return config.replace(**chosen)


def held_out(config: Config, summary: Summary) -> float:
    """The default share of the images to hold out."""
    images = summary.num_images
    # A set of TensorFlow Datasets is read in its stored order, and cannot be split.
    if config.test_data or config.data.startswith("tfds:") or images < MIN_SPLIT_IMAGES:
        return 0.0
    return min(SPLIT, MAX_HELD_OUT / images)


def image_size(summary: Summary, machine: Machine) -> int:
    """Side in pixels: that of typical images, up to the maximum for the machine."""
    typical = min(summary.widths[1], summary.heights[1])
    most = MAX_GPU_SIDE if machine.gpus else MAX_CPU_SIDE
    if typical <= most:
        return max(MIN_SIDE, typical)
    return most


def smaller_size(given: Config, planned: Config) -> int | None:
    """A smaller side, if training would process too few images in the given time; else None.

    Many passes over smaller images teach more than a few over large ones.

    Args:
        given: the values from the user; an image size or number of epochs does not change.
        planned: the configuration with the epochs that fit into the minutes.
    """
    free = given.image_size is None and given.epochs is None and planned.minutes is not None
    size = planned.image_size
    seen = (planned.epochs or 0) * (planned.images or 0)
    if not free or not size or size < 2 * MIN_SHRUNK_SIDE or seen >= MIN_SEEN:
        return None
    return max(MIN_SHRUNK_SIDE, size // 2)


def batch_size(images: int, most: int = 128) -> int:
    """A power of two for which an epoch has several steps."""
    batch = most
    while batch > MIN_BATCH and images // batch < MIN_STEPS_PER_EPOCH:
        batch //= 2
    return batch
