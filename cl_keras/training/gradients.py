"""Accumulates and applies gradients, with the same result on many replicas as on one."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from cl_keras import distribute


def accumulate(function: Callable, batch: Any, count: int) -> tuple[list, Any]:
    """Gradients of a batch that is processed in micro-batches, one after the other.

    Args:
        function: from a micro-batch to a list of gradients, which may include None, and a structure
            of tensors `[b, ...]`.
        batch: structure of tensors `[b, ...]` and None.
        count: number of micro-batches, which divides b.

    Returns:
        The sums of the gradients, and the rows of all micro-batches.
    """
    sums: list = []
    kept = []
    for number in range(count):
        # Each waits for the one before; otherwise all activations would be in memory at once.
        done = [gradient for gradient in sums if gradient is not None]
        with distribute.micro_batch(number, count), tf.control_dependencies(done):
            gradients, rows = function(_micro_batch(batch, number, count))
        sums = _sums(sums, gradients) if sums else gradients
        kept.append(rows)
    return sums, kept[0] if count == 1 else tf.nest.map_structure(_concatenated, *kept)


def _micro_batch(batch, number, count):
    def rows(tensor):
        return None if tensor is None else tf.split(tensor, count)[number]

    return batch if count == 1 else tf.nest.map_structure(rows, batch)


def _concatenated(*rows):
    return None if rows[0] is None else tf.concat(rows, axis=0)


def _sums(first, second):
    return [a if b is None else a + b for a, b in zip(first, second, strict=True)]


def apply(
    optimizer: keras.optimizers.Optimizer,
    gradients: Sequence[tf.Tensor | None],
    variables: Sequence[keras.Variable],
) -> None:
    """Applies the sum of every replica's gradients.

    Keras sums them too, but clips each replica's gradients first, and looks for infinities of a
    scaled loss only on the first replica. Here both take all replicas into account.

    Args:
        optimizer: a built `keras.optimizers.Optimizer`.
        gradients: of this replica, one per variable, scaled if the optimizer scales the loss.
        variables: list of `keras.Variable`.
    """
    if distribute.num_replicas() > 1:
        pairs = [pair for pair in zip(gradients, variables, strict=True) if pair[0] is not None]
        gradients, variables = zip(*pairs, strict=True)
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            gradients = _infinite_everywhere(gradients)
        if _clips(_innermost(optimizer)):
            gradients = _clipped(optimizer, gradients)
    optimizer.apply(gradients, variables)


def check_optimizer(optimizer: keras.optimizers.Optimizer, replicas: int) -> None:
    """Refuses settings that Keras' optimizers do not support under a strategy.

    Raises:
        ValueError: for gradient accumulation in the optimizer.
    """
    steps = _innermost(optimizer).gradient_accumulation_steps
    if replicas > 1 and steps:
        raise ValueError(
            "Keras' optimizers cannot accumulate gradients under a strategy; received "
            f"gradient_accumulation_steps={steps}. Give the method the whole batch and "
            f"gradient_accumulation={steps} instead."
        )


def _infinite_everywhere(gradients):
    """Makes the gradients non-finite on all replicas if they are non-finite on one."""
    finite = tf.stack([tf.reduce_all(tf.math.is_finite(g)) for g in gradients])
    bad = distribute.sum_over_replicas(tf.cast(~tf.reduce_all(finite), tf.float32))
    poison = tf.where(bad > 0, float("inf"), 0.0)
    return [gradient + tf.cast(poison, gradient.dtype) for gradient in gradients]


def _clipped(optimizer, gradients):
    """This replica's share of the clipped sum of all gradients.

    Keras clips it again, to no effect, since the share is smaller.
    """
    scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
    scale = optimizer.dynamic_scale.value if scaled else 1.0
    total = [g / tf.cast(scale, g.dtype) for g in distribute.sum_over_replicas(list(gradients))]
    total = _innermost(optimizer)._clip_gradients(total)
    return [g * tf.cast(scale, g.dtype) / distribute.num_replicas() for g in total]


def _clips(optimizer):
    return bool(optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue)


def _innermost(optimizer):
    return getattr(optimizer, "inner_optimizer", optimizer)


class LastNorm:
    """The norm of the last step's gradient, kept outside the model's state.

    It is known only with one replica: with several, each has a share of the gradient, and the
    optimizer computes their sum.
    """

    def __init__(self):
        self._kept: tf.Variable | None = None

    def create(self) -> None:
        """Creates the variable; call it before the step is traced."""
        if self._kept is None:
            self._kept = tf.Variable(math.nan, trainable=False, dtype=tf.float32)

    def keep(self, optimizer: keras.optimizers.Optimizer, gradients: list) -> None:
        """Keeps the norm of a step's gradients, without the scale of the loss."""
        if self._kept is None:
            return
        squares = [
            tf.reduce_sum(tf.square(tf.cast(gradient, tf.float32)))
            for gradient in gradients
            if gradient is not None
        ]
        scaled = isinstance(optimizer, keras.optimizers.LossScaleOptimizer)
        scale = tf.cast(optimizer.dynamic_scale.value, tf.float32) if scaled else 1.0
        self._kept.assign(tf.sqrt(tf.add_n(squares)) / scale)

    def value(self) -> float | None:
        """The norm; None if it is unknown or not finite."""
        value = math.nan if self._kept is None else float(self._kept.numpy())
        return value if math.isfinite(value) else None
