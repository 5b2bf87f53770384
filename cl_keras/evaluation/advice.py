"""Advice on what to do next, from the facts of a run."""

import dataclasses

import numpy as np

MANY_IMAGES = 5000
"""With fewer images, existing weights are usually the better start."""

MIN_SEEN = 100_000
"""Images, repeats counted, that an encoder has to see before its views are to blame."""


@dataclasses.dataclass(frozen=True)
class Training:
    """The facts of the training behind an encoder; every field may be missing.

    Attributes:
        epochs: number of epochs.
        images: number of training images.
        image_size: side in pixels that the encoder sees.
        source_size: typical shorter side of the files in pixels.
        flips: whether the views mirror images.
        crop_area: smallest share of an image that a crop shows.
        begun: whether training began with existing weights.
        history: {metric: value of each epoch}, as `runs.Run.metrics` returns it.
    """

    epochs: int | None = None
    images: int | None = None
    image_size: int | None = None
    source_size: int | None = None
    flips: bool | None = None
    crop_area: float | None = None
    begun: bool = False
    history: dict[str, list[float | None]] = dataclasses.field(default_factory=dict)


def advice(outcome: str, healthy: bool, best_baseline: str, training: Training) -> list[str]:
    """Up to three next steps in plain words, the most useful first.

    Args:
        outcome: see `Verdict`.
        healthy: whether the embedding makes use of its space.
        best_baseline: name of the best baseline.
        training: the facts of the run.
    """
    if not healthy:
        return [
            "train again with a lower learning rate or a higher temperature",
            "look at the views: they should differ, yet still show the same thing",
        ]
    steps = []
    if outcome != "better" and (seen := _seen(training)) and seen < MIN_SEEN:
        plural = "s" * (training.epochs != 1)
        steps.append(
            f"train much longer: in {training.epochs} epoch{plural} it has seen {seen:,} images, "
            f"repeats counted; {MIN_SEEN:,} are a beginning"
        )
    if outcome != "better":
        if "PCA" in best_baseline:
            steps.append("use whitened PCA for now: it is as good here, and needs no training")
        if training.crop_area is not None and training.crop_area < 0.4:
            steps.append(
                f"use milder crops (crop_area from 0.5 instead of {training.crop_area:g}), since "
                "small crops may cut away what tells the classes apart"
            )
        if training.flips:
            steps.append("train without flips if left and right matter, as in digits and letters")
    if still_improving(training.history) and not any("longer" in step for step in steps):
        epochs = "" if training.epochs is None else f" than {training.epochs} epochs"
        steps.append(f"train longer{epochs}, since it was still improving at the end")
    if training.images is not None and training.images < MANY_IMAGES:
        start = "" if training.begun else "start from existing weights (--init) or "
        steps.append(f"{start}add unlabeled images: {training.images:,} images are few")
    if training.source_size and training.image_size and training.source_size > training.image_size:
        steps.append(
            f"try larger images: files of {training.source_size} pixels are resized to "
            f"{training.image_size}"
        )
    if outcome == "better":
        steps.insert(0, "label a few images and fit a classifier (cl-keras finetune)")
    return steps[:3] or ["train longer, or with more images"]


def _seen(training):
    """Number of images processed in training, with repeats; None if unknown."""
    known = training.epochs and training.images
    return training.epochs * training.images if known else None


def still_improving(history: dict[str, list[float | None]]) -> bool:
    """Whether the last quarter of a run was better than the third.

    By k-NN accuracy if it is known (more than half a point higher), otherwise by the loss (more
    than one percent lower).
    """
    knn = _quarters(history.get("knn", ()))
    if knn is not None:
        return bool(knn[1] - knn[0] > 0.005)
    loss = _quarters(history.get("loss", ()))
    return loss is not None and bool(loss[0] - loss[1] > 0.01 * abs(loss[0]))


def _quarters(values):
    """Means of the third and the last quarter of a series; None if it is too short."""
    known = np.array([v for v in values if v is not None and np.isfinite(v)], float)
    if len(known) < 4:
        return None
    size = len(known) // 4
    return known[-2 * size : -size].mean(), known[-size:].mean()
