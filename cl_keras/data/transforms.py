"""Records calls of `tf.data.Dataset` methods, to apply them to every epoch."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import inspect
from typing import Any

import tensorflow as tf

ONE_FOR_ONE = frozenset({"map", "prefetch", "with_options"})
"""Methods that map each element to one element, independently of the others."""

KEEPS_BATCHES = ONE_FOR_ONE | {"filter", "ignore_errors", "repeat", "skip", "take", "take_while"}
"""Methods whose elements each come from one batch, and so work on a worker's share of it."""

BY_POSITION = frozenset({"repeat", "shard", "shuffle", "skip", "take"})
"""Methods that only change which elements come, and when."""

FREEZES = frozenset({"cache", "snapshot"})
"""Methods that would repeat the elements of the first epoch in all others."""

TRANSFORMS = KEEPS_BATCHES | {
    *("apply", "batch", "bucket_by_sequence_length", "concatenate", "enumerate", "flat_map"),
    *("group_by_window", "interleave", "padded_batch", "ragged_batch", "rebatch"),
    *("rejection_resample", "scan", "shard", "shuffle", "sparse_batch", "unbatch", "unique"),
    *("window",),
}
"""All methods that return a transformed dataset."""


@dataclasses.dataclass(frozen=True)
class Transform:
    """One call of a method of `tf.data.Dataset`.

    Args:
        name: name of the method.
        args, kwargs: its arguments.
    """

    name: str
    args: tuple
    kwargs: dict[str, Any]

    def __call__(self, dataset: tf.data.Dataset, epoch: int | tf.Tensor) -> tf.data.Dataset:
        """Applies the method to one epoch."""
        method = getattr(tf.data.Dataset, self.name)
        given = inspect.signature(method).bind(dataset, *self.args, **self.kwargs)
        if self.name == "shuffle" and given.arguments.get("seed") is not None:
            # Otherwise TensorFlow would use the same seed in every epoch.
            given.arguments["seed"] = given.arguments["seed"] + epoch
        if self.name == "concatenate" and hasattr(given.arguments["dataset"], "transforms"):
            other = given.arguments["dataset"]
            given.arguments["dataset"] = other._epoch(epoch, 0, other.transforms)
        with _without_global_seed():
            return method(*given.args, **given.kwargs)

    @property
    def one_for_one(self) -> bool:
        return self.name in ONE_FOR_ONE

    @property
    def keeps_batches(self) -> bool:
        return self.name in KEEPS_BATCHES

    @property
    def leaves_elements(self) -> bool:
        return self.name in BY_POSITION or self.name in ("prefetch", "with_options")

    @property
    def selects_by_position(self) -> bool:
        return self.name in BY_POSITION

    @property
    def count(self) -> int | None:
        """For `repeat`, the number of repetitions, or None if it is infinite."""
        count = self.args[0] if self.args else self.kwargs.get("count")
        return None if count is None or count < 0 else int(count)


def record_transforms(cls: type) -> type:
    """Class decorator: the methods of `tf.data.Dataset` return a `cls` that remembers the call."""
    for name in TRANSFORMS:
        setattr(cls, name, _recorded(name))
    for name in FREEZES:
        setattr(cls, name, _refused(name))
    return cls


def _recorded(name: str):
    @functools.wraps(getattr(tf.data.Dataset, name))
    def method(self, *args, **kwargs):
        transform = Transform(name, args, kwargs)
        if name == "concatenate":
            _check_same_source(self, args[0] if args else kwargs.get("dataset"))
        return self._replace(transforms=(*self.transforms, transform))

    return method


def _refused(name: str):
    original = getattr(tf.data.Dataset, name)

    @functools.wraps(original)
    def method(self, *args, **kwargs):
        if self.shuffled:
            raise ValueError(
                f"{name}() would repeat the order of the first epoch in all others. To keep the "
                "images in memory, load them as an array: "
                "data.load(source.images(range(len(source)))).batches(…)."
            )
        return original(self._first_epoch, *args, **kwargs)

    return method


def _check_same_source(batches, other) -> None:
    """Refuses two sources, since both number their images from 0."""
    if getattr(other, "source", batches.source) is not batches.source:
        raise ValueError(
            f"{batches.source.name} and {other.source.name} both number their images from 0, so "
            "two images would share an index in one dataset. Join the sources instead: "
            "data.join([first, second]).batches(…)."
        )


@contextlib.contextmanager
def _without_global_seed():
    """Hides a global seed of 0, with which TensorFlow would compare a tensor seed, and fail."""
    graph = tf.compat.v1.get_default_graph()
    before, graph.seed = graph.seed, graph.seed or None
    try:
        yield
    finally:
        graph.seed = before
