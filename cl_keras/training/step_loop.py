"""The loop around a training step, under any strategy, and the callbacks that pace it."""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

GPU_STEPS_PER_EXECUTION = 8
"""On a GPU a step is so short that the 1 ms between two executions matters."""


def default_steps_per_execution() -> int:
    """Default number of steps per execution: 8 on a GPU, 1 on a CPU."""
    return GPU_STEPS_PER_EXECUTION if tf.config.list_logical_devices("GPU") else 1


def step_loop(model: keras.Model, step: Callable) -> Callable:
    """A function of an iterator that runs `step` on every replica, several times.

    Keras' own loop fails with several steps per execution under MirroredStrategy, and altogether
    under MultiWorkerMirroredStrategy; this one works with any strategy, and its last execution may
    have fewer steps.

    Args:
        model: the compiled `keras.Model`; its `steps_in_execution` is the number of steps, see
            `StepCallbacks`.
        step: function from a batch to a dictionary of scalars.

    Returns:
        A function from an iterator to the logs of the last step, averaged over replicas.
    """
    strategy = model.distribute_strategy
    step = tf.autograph.experimental.do_not_convert(step)
    if model.jit_compile and not model.run_eagerly:
        step = tf.function(step, jit_compile=True)

    def one(iterator):
        logs = strategy.run(step, args=(next(iterator),))
        return tf.nest.map_structure(lambda log: strategy.reduce("MEAN", log, axis=None), logs)

    one = one if model.run_eagerly else tf.function(one)

    def several(iterator, count):
        logs = one(iterator)
        for _ in tf.range(count - 1):
            logs = one(iterator)
        return logs

    # Tracing the step again, for a loop that never runs, would double the time to start.
    loops = model.steps_per_execution > 1
    several = tf.function(several) if loops and not model.run_eagerly else several

    def run(iterator):
        count = model.steps_in_execution
        if count == 0:
            # No step is left in this epoch: for these names, Keras logs the metrics as they are.
            return dict.fromkeys(metric.name for metric in model.metrics)
        return several(iterator, tf.constant(count)) if loops else one(iterator)

    return run


class StepCallbacks(keras.callbacks.CallbackList):
    """Callbacks of `fit` and `evaluate` that tell the step loop how many steps to run next.

    Keras counts whole executions from the beginning of each epoch. Here the last execution has the
    remaining steps, and the first one of a resumed epoch the unfinished ones. The callbacks are not
    called for an execution without steps.

    Args:
        callbacks: list of `keras.callbacks.Callback`.
        model: the compiled `keras.Model`, whose `steps_in_execution` is set.
        train_steps: number of training steps per epoch; default: None, unknown.
        test_steps: number of evaluation steps; default: None, unknown.
        **kwargs: as for `keras.callbacks.CallbackList`.
    """

    finished = 0
    """Steps of the running epoch that were finished in another process."""

    def __init__(
        self,
        callbacks: list[keras.callbacks.Callback],
        *,
        model: keras.Model,
        train_steps: int | None = None,
        test_steps: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(callbacks, model=model, **kwargs)
        self._train_steps = math.inf if train_steps is None else train_steps
        self._test_steps = math.inf if test_steps is None else test_steps

    def on_train_batch_begin(self, batch, logs=None):
        first = self._plan(batch, self.finished, self._train_steps)
        if self.model.steps_in_execution:
            super().on_train_batch_begin(first, logs)

    def on_train_batch_end(self, batch, logs=None):
        if self.model.steps_in_execution:
            super().on_train_batch_end(min(batch, self._train_steps - 1), logs)

    def on_test_batch_begin(self, batch, logs=None):
        super().on_test_batch_begin(self._plan(batch, 0, self._test_steps), logs)

    def on_test_batch_end(self, batch, logs=None):
        super().on_test_batch_end(min(batch, self._test_steps - 1), logs)

    def _plan(self, begin, finished, steps):
        """The first step of the execution that Keras begins at a step."""
        first = max(begin, finished)
        end = min(begin + self.model.steps_per_execution, steps)
        self.model.steps_in_execution = max(end - first, 0)
        return first


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Stops training with an error as soon as the loss is NaN or infinite.

    The error is raised before the epoch ends, and so before a checkpoint of the broken weights is
    written.
    """

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        raise FloatingPointError(
            f"The loss became {float(loss)} in epoch {self._epoch + 1}, batch {batch + 1} "
            f"(step {int(self.model.step.numpy())} of the model). These weights are lost, but the "
            "last checkpoint is not. Usual causes: a learning rate that is too high or has no "
            "warm-up, a temperature that is too low, or images that are not in 0..255."
        )
