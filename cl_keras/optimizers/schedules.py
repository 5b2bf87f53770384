"""Schedules of learning rates, and rules for their dependence on the batch size."""

from typing import Any

import keras
import tensorflow as tf
from keras.optimizers.schedules import LearningRateSchedule


def warmup_cosine(
    peak: float, *, warmup_steps: int, steps: int, start: float = 0.0, final: float = 0.0
) -> LearningRateSchedule:
    """A linear rise from `start` to `peak`, then half a cosine to `final`.

    Loshchilov & Hutter 2017, "SGDR"; for the rise, Goyal et al. 2017.

    Args:
        peak: highest learning rate, reached after `warmup_steps`.
        warmup_steps: length of the rise; 0 for none.
        steps: total length, including the rise.
        start: learning rate of the first step of a rise; default: 0.
        final: learning rate at the end and after it; default: 0.

    Raises:
        ValueError: if the rise is not shorter than the total.
    """
    _check_steps(warmup_steps, steps)
    fall = keras.optimizers.schedules.CosineDecay(peak, steps - warmup_steps, final / peak)
    return Warmup(fall, warmup_steps, start) if warmup_steps else fall


def warmup_step_decay(
    peak: float,
    *,
    warmup_steps: int = 0,
    steps: int,
    milestones: tuple[float, ...] = (0.6, 0.8),
    factor: float = 0.1,
    start: float = 0.0,
) -> LearningRateSchedule:
    """A linear rise, then `peak`, multiplied by `factor` at each milestone (He et al. 2016).

    Args:
        peak: highest learning rate.
        warmup_steps: length of the rise; default: 0, none.
        steps: total length, including the rise.
        milestones: shares of the total; default: (0.6, 0.8), epochs 120 and 160 of 200 (MoCo v1).
        factor: factor at each milestone; default: 0.1.
        start: learning rate of the first step of a rise; default: 0.

    Raises:
        ValueError: if the rise is not shorter than the total.
    """
    _check_steps(warmup_steps, steps)
    # In Keras, the value changes after a boundary, so it is the last step before a milestone.
    boundaries = [round(share * steps) - 1 - warmup_steps for share in milestones]
    values = [peak * factor**i for i in range(len(milestones) + 1)]
    if not milestones:  # Keras needs at least one boundary
        boundaries, values = [steps], [peak, peak]
    fall = keras.optimizers.schedules.PiecewiseConstantDecay(boundaries, values)
    return Warmup(fall, warmup_steps, start) if warmup_steps else fall


@keras.saving.register_keras_serializable("cl_keras")
class Warmup(LearningRateSchedule):
    """A linear rise to the initial rate of another schedule, which follows.

    Args:
        schedule: a `keras.optimizers.schedules.LearningRateSchedule`.
        steps: length of the rise, at least 1.
        start: learning rate of the first step; default: 0.
    """

    def __init__(self, schedule: LearningRateSchedule, steps: int, start: float = 0.0):
        super().__init__()
        self.schedule, self.steps, self.start = schedule, steps, start

    def __call__(self, step: Any) -> tf.Tensor:
        step = tf.cast(step, keras.config.floatx())
        peak = tf.cast(self.schedule(0), step.dtype)
        rise = self.start + (peak - self.start) * step / self.steps
        after = tf.cast(self.schedule(tf.maximum(step - self.steps, 0)), step.dtype)
        return tf.where(step < self.steps, rise, after)

    def get_config(self) -> dict[str, Any]:
        schedule = keras.optimizers.schedules.serialize(self.schedule)
        return {"schedule": schedule, "steps": self.steps, "start": self.start}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Warmup":
        schedule = keras.optimizers.schedules.deserialize(config["schedule"])
        return cls(**config | {"schedule": schedule})


def linear_scaling(batch_size: int, base: float = 0.3) -> float:
    """`base · b / 256` (Goyal et al. 2017); SimCLR's rule with LARS."""
    return base * batch_size / 256


def square_root_scaling(batch_size: int, base: float = 0.075) -> float:
    """`base · √b`; SimCLR's rule for small batches and long runs."""
    return base * batch_size**0.5


def _check_steps(warmup_steps, steps):
    if not 0 <= warmup_steps < steps:
        raise ValueError(
            "warmup_steps must be at least 0 and less than steps, the total length; "
            f"received warmup_steps={warmup_steps}, steps={steps}."
        )
