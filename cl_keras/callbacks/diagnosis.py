"""Rules that turn vitals into findings, i.e. what is wrong with a run and how to fix it.

All thresholds are far from the values of healthy runs, to avoid false alarms.
"""

import dataclasses
from collections.abc import Sequence

import keras

from cl_keras.callbacks.vitals import Vitals, queues
from cl_keras.training import PretextModel

SETTLED = 100
"""Steps after which embeddings are checked; before, any network maps all images close together."""

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 2.0
MIN_VIEW_DIFFERENCE = 0.5  # gray levels
MAX_UPDATE = 0.5  # relative change of the kernels in one step
MAX_GROWTH = 10.0  # factor by which their length may grow since the start
MIN_MOVEMENT = 1e-4  # of the kernels over `SETTLED` steps
MAX_NEGATIVE_COSINE = 0.999
MAX_TOP_PROTOTYPE = 0.9
MAX_PROTOTYPE_EXCESS = 0.003
MAX_SCORE = 1.25


@dataclasses.dataclass(frozen=True)
class Finding:
    """A problem of a run.

    Attributes:
        name: short and stable, such as "temperature".
        sentence: the problem and its remedy.
    """

    name: str
    sentence: str


def of_settings(model: PretextModel, num_images: int | None) -> list[Finding]:
    """Problems that are visible before the first step.

    Args:
        model: the model.
        num_images: number of training images; None if unknown.
    """
    return [*_temperature(model), *_queue_length(model, num_images), *_batch_norm_leak(model)]


def of_vitals(history: Sequence[Vitals], first_step: int) -> list[Finding]:
    """Problems that the newest vitals show.

    Args:
        history: vitals of this process, the newest last.
        first_step: the step at which they began; above 0 in a resumed run.
    """
    now, done = history[-1], history[-1].step - first_step
    found = [*_views(now), *_rate(now, done, first_step), *_scores(now)]
    if now.step >= SETTLED:
        found += [*_prototype_collapse(now), *_collapse(history)]
    return found


def _temperature(model):
    temperature = getattr(model, "temperature", None)
    if not isinstance(temperature, (int, float)):
        return
    if temperature > MAX_TEMPERATURE:
        yield Finding(
            "temperature",
            f"The temperature {temperature:g} is so high that even a perfect encoder barely lowers "
            "the loss. Use 0.05 to 0.5.",
        )
    elif temperature < MIN_TEMPERATURE:
        yield Finding(
            "temperature",
            f"The temperature {temperature:g} is so low that only the hardest negative counts and "
            "gradients explode. Use 0.05 to 0.5.",
        )


def _queue_length(model, num_images):
    longest = max((queue.size for queue in queues(model)), default=0)
    if num_images is not None and longest > num_images:
        yield Finding(
            "queue",
            f"The queue of {longest:,} keys is longer than the {num_images:,} images, so "
            "each image has its own old keys as negatives. Set queue_size to at most half of the "
            "images.",
        )


def _batch_norm_leak(model):
    if getattr(model, "momentum_encoder", None) is None:
        return
    groups = model.get_config().get("shuffle_bn_groups")
    if groups == 1 and _has_batch_norm(model.encoder):
        yield Finding(
            "batch normalization",
            "Queries and keys pass batch normalization in the same groups, whose statistics reveal "
            "which key belongs to which query, so the loss falls without learning. Set "
            "shuffle_bn_groups to 4 or more.",
        )


def _has_batch_norm(layer):
    return any(
        isinstance(one, keras.layers.BatchNormalization) or "BatchNorm" in type(one).__name__
        for one in layer._flatten_layers()
    )


def _views(now):
    difference = now.view_difference
    if difference is not None and difference < MIN_VIEW_DIFFERENCE:
        yield Finding(
            "views",
            "All views of an image are the same, so there is nothing to learn from. Use random "
            "crops and changes of brightness, such as the method's default_views.",
        )


def _rate(now, done, first_step):
    too_high = (now.update or 0) > MAX_UPDATE or (now.growth or 0) > MAX_GROWTH
    if too_high:
        yield Finding(
            "learning rate",
            f"The weights change by {100 * (now.update or 0):.0f} % in a step and have grown to "
            f"{now.growth:.1f} times their size, so the learning rate is far too high. Divide it "
            "by 10 or more.",
        )
    elif first_step == 0 and done >= SETTLED and (now.movement or 1) < MIN_MOVEMENT:
        yield Finding(
            "learning rate",
            f"After {done} steps the weights have moved by only {100 * now.movement:.3g} %, so the "
            "learning rate is far too low. Multiply it by 10 or more.",
        )


def _scores(now):
    excess, score = now.prototype_excess or 0, now.largest_score or 0
    if excess > MAX_PROTOTYPE_EXCESS or score > MAX_SCORE:
        yield Finding(
            "prototype normalization",
            f"Prototypes are off unit length by up to {excess:.2g} (scores reach {score:.2f}), "
            "more than one step can cause, so scores are not cosines. Normalize the projections, "
            "and the prototypes before every step.",
        )


def _prototype_collapse(now):
    """Nearly all images are nearest to one prototype, which has lowered the loss."""
    if now.top_prototype is None or now.top_prototype <= MAX_TOP_PROTOTYPE:
        return
    if now.loss is not None and now.ceiling is not None and now.loss < 0.5 * now.ceiling:
        yield Finding(
            "prototype collapse",
            f"{100 * now.top_prototype:.0f} % of the images are nearest to one prototype while the "
            "loss falls, so the codes are not spread evenly. Check the iterations of "
            "Sinkhorn–Knopp, lower epsilon, or freeze the prototypes for longer.",
        )


def _collapse(history):
    """Different images have the same projection in two consecutive checks."""
    two = [v.negative_cosine for v in history[-2:] if v.step >= SETTLED / 2]
    if len(two) == 2 and all(c is not None and c > MAX_NEGATIVE_COSINE for c in two):
        yield Finding(
            "collapse",
            f"Different images have almost the same projection (mean cosine {two[-1]:.4f}), so "
            "the encoder has collapsed. Lower the learning rate, and check that negatives or "
            "prototypes are in use.",
        )
