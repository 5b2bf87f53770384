"""Resumes training in the middle of an epoch."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from cl_keras.data import Batches
from cl_keras.training.step_loop import StepCallbacks


class ResumedCallbacks(StepCallbacks):
    """The callbacks of a `fit` whose first epoch began in another process.

    Keras runs the same number of steps in every epoch, so the finished ones are counted but neither
    run nor reported to the callbacks. A callback that acts at the beginning of an epoch, and must
    not do so twice, also defines `on_epoch_resumed`, which is called instead of `on_epoch_begin`.

    As a context manager, it keeps the values of the model's metrics until the first epoch begins.

    Args:
        callbacks: list of `keras.callbacks.Callback`.
        finished: finished batches of the first epoch.
        **kwargs: as for `StepCallbacks`.
    """

    def __init__(self, callbacks: list[keras.callbacks.Callback], *, finished: int, **kwargs: Any):
        super().__init__(callbacks, **kwargs)
        self.finished, self._first = finished, True

    def __enter__(self):
        self.model.resuming_epoch = True
        return self

    def __exit__(self, *error):
        self.model.resuming_epoch = False

    def on_epoch_begin(self, epoch, logs=None):
        if not self._first:
            return super().on_epoch_begin(epoch, logs)
        self._first, self.model.resuming_epoch = False, False
        for callback in self.callbacks:
            getattr(callback, "on_epoch_resumed", callback.on_epoch_begin)(epoch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self.finished = 0
        super().on_epoch_end(epoch, logs)


def batches_from(dataset: tf.data.Dataset, epoch: int, batch: int, steps: int) -> tf.data.Dataset:
    """The batches that follow a position in the run.

    Args:
        dataset: `Batches`, which know the order of every epoch; or a `tf.data.Dataset`, which every
            epoch reads from its beginning.
        epoch: number of finished epochs.
        batch: number of finished batches of the epoch after them.
        steps: number of batches of an epoch.
    """
    if isinstance(dataset, Batches):
        done = epoch * steps + batch
        if dataset.steps_per_epoch is None:  # filtered: batches per epoch are not known beforehand
            return dataset.from_epoch(0).skip(done)
        return dataset.from_epoch(*divmod(done, dataset.steps_per_epoch))
    if batch == 0:
        return dataset
    endless = dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    rest = dataset.skip(batch)
    return rest if endless else rest.concatenate(dataset.repeat())


def check_position(batch: int, steps: int | None) -> None:
    """Checks that training can begin at a position within an epoch.

    Args:
        batch: number of finished batches of the epoch.
        steps: number of batches of an epoch; None if it is not known.

    Raises:
        ValueError: if it cannot.
    """
    if batch and steps is None:
        raise ValueError(
            f"initial_batch={batch} needs the number of steps of an epoch; give steps_per_epoch."
        )
    if batch < 0 or (steps is not None and batch > steps):
        raise ValueError(f"initial_batch must be from 0 to {steps}; received {batch}.")


@contextlib.contextmanager
def enter_contexts(
    callbacks: list[keras.callbacks.Callback],
) -> Iterator[contextlib.ExitStack]:
    """Enters the callbacks that are context managers, and exits them even on error.

    Yields:
        The `contextlib.ExitStack`, for entering more.
    """
    with contextlib.ExitStack() as stack:
        for callback in callbacks:
            if isinstance(callback, contextlib.AbstractContextManager):
                stack.enter_context(callback)
        yield stack
