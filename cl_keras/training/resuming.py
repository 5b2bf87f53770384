"""Training that begins in the middle of an epoch."""

import contextlib

import tensorflow as tf

from cl_keras.data import Batches
from cl_keras.training.step_loop import StepCallbacks


class ResumedCallbacks(StepCallbacks):
    """The callbacks of a `fit` whose first epoch began in another process.

    Keras runs the same number of steps in every epoch, so the finished ones are counted without
    being run, and without telling the callbacks. A callback that acts when an epoch begins, and
    must not do so twice, defines `on_epoch_resumed` beside `on_epoch_begin`; it is called instead.

    As a context, it keeps the values of the model's metrics until the first epoch has begun.

    Args:
        callbacks: list of `keras.callbacks.Callback`.
        finished: finished batches of the first epoch.
        **kwargs: as for `StepCallbacks`.
    """

    def __init__(self, callbacks, *, finished, **kwargs):
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
        epoch: finished epochs.
        batch: finished batches of the next one.
        steps: batches of an epoch.
    """
    if isinstance(dataset, Batches):
        done = epoch * steps + batch
        if dataset.steps_per_epoch is None:  # filtered: how far `done` reaches is known afterwards
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
        batch: finished batches of the epoch.
        steps: batches of an epoch; None if it is not known.

    Raises:
        ValueError: if it cannot.
    """
    if batch and steps is None:
        raise ValueError(
            f"initial_batch={batch} needs the length of an epoch; give steps_per_epoch."
        )
    if batch < 0 or (steps is not None and batch > steps):
        raise ValueError(f"initial_batch must be from 0 to {steps}; received {batch}.")


@contextlib.contextmanager
def enter_contexts(callbacks: list):
    """A context that enters the context-manager callbacks, and exits them even on error.

    Yields:
        The `contextlib.ExitStack`, for more.
    """
    with contextlib.ExitStack() as stack:
        for callback in callbacks:
            if isinstance(callback, contextlib.AbstractContextManager):
                stack.enter_context(callback)
        yield stack
