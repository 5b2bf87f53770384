"""Training that begins in the middle of an epoch."""

import contextlib

import keras
import tensorflow as tf

from cl_keras.data import Batches


class ResumedCallbacks(keras.callbacks.CallbackList):
    """The callbacks of a `fit` whose first epoch began in another process.

    Keras runs the same number of steps in every epoch, so the finished ones are counted without
    being run, and without telling the callbacks. A callback that acts when an epoch begins, and
    must not do so twice, defines `on_epoch_resumed` beside `on_epoch_begin`; it is called instead.

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
    def skip_finished_steps(self):
        """A context in which the model's train function skips the finished steps."""
        model, remaining = self.model, self._batch // self.model.steps_per_execution
        train = model.make_train_function()

        def train_remaining(iterator):
            nonlocal remaining
            if remaining == 0:
                return train(iterator)
            remaining -= 1
            # Of an epoch without a step left, Keras takes the logs of the metrics with these names.
            return dict.fromkeys(metric.name for metric in model.metrics)

        model.train_function, model.resuming_epoch = train_remaining, True
        try:
            yield self
        finally:
            model.train_function, model.resuming_epoch = train, False

    def on_epoch_begin(self, epoch, logs=None):
        if not self._first:
            return super().on_epoch_begin(epoch, logs)
        self._first, self.model.resuming_epoch = False, False
        for callback in self.callbacks:
            getattr(callback, "on_epoch_resumed", callback.on_epoch_begin)(epoch, logs)

    def on_train_batch_begin(self, batch, logs=None):
        if batch >= self._batch:
            super().on_train_batch_begin(batch, logs)

    def on_train_batch_end(self, batch, logs=None):
        if batch >= self._batch:
            super().on_train_batch_end(batch, logs)

    def on_epoch_end(self, epoch, logs=None):
        self._batch = 0
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
        return dataset.from_epoch(*divmod(epoch * steps + batch, dataset.steps_per_epoch))
    if batch == 0:
        return dataset
    endless = dataset.cardinality() == tf.data.INFINITE_CARDINALITY
    rest = dataset.skip(batch)
    return rest if endless else rest.concatenate(dataset.repeat())


def check_position(batch: int, steps: int, per_execution: int) -> None:
    """Checks that an execution of steps can begin at a position within an epoch.

    Args:
        batch: finished batches of the epoch.
        steps: batches of an epoch; below 1 if it is not known.
        per_execution: `steps_per_execution`.

    Raises:
        ValueError: if none can.
    """
    if batch and steps < 1:
        raise ValueError(
            f"initial_batch={batch} needs the length of an epoch; give steps_per_epoch."
        )
    if batch < 0 or (batch and batch > steps):
        raise ValueError(f"initial_batch must be from 0 to {steps}; received {batch}.")
    if batch % per_execution:
        raise ValueError(
            f"initial_batch={batch} must divide by steps_per_execution={per_execution}; the run "
            "began with another one."
        )


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
