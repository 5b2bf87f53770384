"""Saves checkpoints after epochs, within them, and before the process has to end."""

import time

import keras
import tensorflow as tf

from cl_keras import distribute
from cl_keras.runs.checkpoints import Checkpoints
from cl_keras.stopping import StopRequest

EVERY_SECONDS = 600
"""Maximum training time in seconds that a kill can cost if epochs are long."""

LOST_WORKER = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError)
"""Errors that TensorFlow raises in a worker when another one has ended."""


class CheckpointCallback(keras.callbacks.Callback):
    """Saves a checkpoint after every epoch, within epochs, and when the process is told to end.

    Put it last, so that the other callbacks have finished an epoch before it is saved.

    SIGTERM, which clusters send before they take a machine away, ends training after the current
    step: a checkpoint is saved and `Preempted` is raised, which ends the process with exit code 75.
    Ctrl-C does the same and raises `KeyboardInterrupt`; a second one does not wait.

    With several workers, the first one saves and handles signals. The others continue in step with
    it until it has stopped.

    NOTE: the time within an epoch counts from the last checkpoint, so shorter epochs are only saved
    at their ends. It is harmless that a clock decides, since the result does not depend on it.

    Args:
        checkpoints: a `Checkpoints`.
        every_steps: maximum number of steps between two checkpoints, also within an epoch; default:
            None, every ten minutes.

    Raises:
        ValueError: for `every_steps` below 1; or when training begins, if the model was restored
            from a checkpoint with another batch size.
    """

    def __init__(self, checkpoints: Checkpoints, *, every_steps: int | None = None):
        super().__init__()
        if every_steps is not None and every_steps < 1:
            raise ValueError(f"every_steps must be at least 1; received {every_steps!r}.")
        self._checkpoints = checkpoints
        self._every_steps = every_steps
        self._stop = StopRequest()

    # `fit` of the methods enters callbacks that are context managers, and exits them even on error.

    def __enter__(self):
        self._stop.__enter__()
        return self

    def __exit__(self, kind, error, trace):
        self._stop.__exit__()
        if isinstance(error, LOST_WORKER) and distribute.num_workers() > 1:
            self._stop.answer()
            raise OSError(
                "Another worker of this run has ended. Restart all workers with the same commands; "
                f"they resume from {self._newest()}."
            ) from error

    def on_train_begin(self, logs=None):
        # The batch size is only known now.
        step = int(self.model.step.numpy())
        for record in self._checkpoints.list():
            if step and record["step"] == step:
                self._checkpoints.check_run(self.model, record)
        self._saved()

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._steps_since += self.model.steps_per_execution
        last = self.params["steps"] is not None and batch + 1 >= self.params["steps"]
        if self._stop.received or (self._is_due() and not last):
            self._save(self._epoch, batch + 1)
        self._answer()

    def on_epoch_end(self, epoch, logs=None):
        self._save(epoch + 1, logs=logs)
        self._answer()

    def _is_due(self):
        if self._every_steps is None:
            return time.monotonic() - self._time >= EVERY_SECONDS
        return self._steps_since + self.model.steps_per_execution > self._every_steps

    def _save(self, epoch, batch=0, logs=None):
        if distribute.is_chief():
            self._checkpoints.save(self.model, epoch, batch, logs)
            self._saved()

    def _saved(self):
        self._time, self._steps_since = time.monotonic(), 0

    def _answer(self):
        if distribute.is_chief():
            self._stop.answer()

    def _newest(self):
        records = self._checkpoints.list()
        return f"step {records[-1]['step']}" if records else "the beginning"
