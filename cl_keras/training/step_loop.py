"""The loop around a step, under any strategy, and the guard that ends it."""

import math

import keras
import tensorflow as tf


def step_loop(model, step):
    """A function of an iterator that runs `step` on every replica, `steps_per_execution` times.

    Keras' own loop fails with several steps an execution under MirroredStrategy, and under
    MultiWorkerMirroredStrategy altogether; this one serves all.

    Args:
        model: the compiled `keras.Model`.
        step: function of a batch, to a dictionary of scalars.

    Returns:
        A function of an iterator, to the logs of the last step, averaged over replicas.
    """
    strategy, count = model.distribute_strategy, model.steps_per_execution
    step = tf.autograph.experimental.do_not_convert(step)
    if model.jit_compile and not model.run_eagerly:
        step = tf.function(step, jit_compile=True)

    def one(iterator):
        logs = strategy.run(step, args=(next(iterator),))
        return tf.nest.map_structure(lambda log: strategy.reduce("MEAN", log, axis=None), logs)

    if count == 1:  # tracing the step again, for a loop that never runs, would take as long again
        return one if model.run_eagerly else tf.function(one)
    several = one if model.run_eagerly else tf.function(one)

    def run(iterator):
        logs = several(iterator)
        for _ in tf.range(count - 1):
            logs = several(iterator)
        return logs

    return run if model.run_eagerly else tf.function(run)


class StopOnNonFiniteLoss(keras.callbacks.Callback):
    """Ends the training with an error as soon as the loss is NaN or infinite.

    The error comes before the epoch ends, so before a checkpoint of the broken weights is written.
    """

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        loss = (logs or {}).get("loss")
        if loss is None or math.isfinite(loss):
            return
        raise FloatingPointError(
            f"The loss became {float(loss)} in epoch {self._epoch + 1}, batch {batch + 1} "
            f"(step {int(self.model.step.numpy())} of the model). The weights are lost from here "
            "on; the last checkpoint is not. Usual causes: a learning rate that is too high or has "
            "no warm-up, a temperature that is too low, or images that are not in 0..255."
        )
