"""Training that begins in the middle of an epoch."""

import contextlib

import keras
import tensorflow as tf

from cl_keras.data import Batches


class TakenUp(keras.callbacks.CallbackList):
    """The callbacks of a `fit` whose first epoch has begun in another process.

    Keras runs the same number of steps in every epoch; so those that are done are gone through
    without a step, and without a word to the callbacks. A callback that does more than look on
    when an epoch begins, and must not do it twice, has `on_epoch_taken_up` beside
    `on_epoch_begin`; it is called instead.

    Args:
        callbacks: list of `keras.callbacks.Callback`.
        model: the compiled `keras.Model`.
        batch: finished batches of the first epoch.
        epochs, steps, verbose: as Keras' `fit` has them.
    """

    def __init__(self, callbacks, *, model, batch, epochs, steps, verbose="auto"):
        super().__init__(
            callbacks,
            add_history=True,
            add_progbar=verbose != 0,
            model=model,
            verbose=verbose,
            epochs=epochs,
            steps=steps,
        )
        self._batch, self._first = batch, True

    @contextlib.contextmanager
    def passing(self):
        """Lets the model's train function pass over the steps that are done."""
        model, remaining = self.model, self._batch // self.model.steps_per_execution
        train = model.make_train_function()

        def train_what_is_left(iterator):
            nonlocal remaining
            if remaining == 0:
                return train(iterator)
            remaining -= 1
            # Of an epoch without a step left, Keras takes the logs of the metrics with these names.
            return dict.fromkeys(metric.name for metric in model.metrics)

        model.train_function, model.epoch_goes_on = train_what_is_left, True
        try:
            yield self
        finally:
            model.train_function, model.epoch_goes_on = train, False

    def on_epoch_begin(self, epoch, logs=None):
        if not self._first:
            return super().on_epoch_begin(epoch, logs)
        self._first, self.model.epoch_goes_on = False, False
        for callback in self.callbacks:
            getattr(callback, "on_epoch_taken_up", callback.on_epoch_begin)(epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        if batch >= self._batch:
            super().on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        if batch >= self._batch:
            super().on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._batch = 0
        super().on_epoch_end(epoch, logs)


def from_place(dataset, epoch, batch, steps):
    """The batches that follow the given place.

    Args:
        dataset: `Batches`, which know the order of every epoch; or a `tf.data.Dataset` of which
            every epoch is the beginning.
        epoch: finished epochs.
        batch: finished batches of the next one.
        steps: batches of an epoch.
    """
    if isinstance(dataset, Batches):
        return dataset.from_epoch(*divmod(epoch * steps + batch, dataset.steps_per_epoch))
    if batch == 0:
        return dataset
    endless = dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    rest = dataset.skip(batch)
    return rest if endless else rest.concatenate(dataset.repeat())


def check_place(batch, steps, per_execution):
    """A place within an epoch must be one at which a step can begin.

    Args:
        batch: finished batches of the epoch.
        steps: batches of an epoch; below 1 if it is not known.
        per_execution: `steps_per_execution`.

    Raises:
        ValueError: if it is not.
    """
    if batch and steps < 1:
        raise ValueError(
            f"initial_batch={batch} needs to know how long an epoch is; give steps_per_epoch."
        )
    if batch < 0 or (batch and batch > steps):
        raise ValueError(f"initial_batch must be from 0 to {steps}; received {batch}.")
    if batch % per_execution:
        raise ValueError(
            f"initial_batch={batch} must divide by steps_per_execution={per_execution}; the run "
            "was begun with another one."
        )


@contextlib.contextmanager
def entered(callbacks):
    """Enters the callbacks that are contexts, and leaves them, after an error too.

    Returns:
        A context of the `contextlib.ExitStack`, for more.
    """
    with contextlib.ExitStack() as stack:
        for callback in callbacks:
            if isinstance(callback, contextlib.AbstractContextManager):
                stack.enter_context(callback)
        yield stack
