"""Vitals of a pretext model, computed from a few images without changing its state."""

import dataclasses
import math

import keras
import numpy as np
import tensorflow as tf

from cl_keras.evaluation import effective_rank, uniformity
from cl_keras.evaluation.checks import normalize
from cl_keras.heads.prototypes import Prototypes
from cl_keras.training import PretextModel

SEED_APART = 7919
"""Added to the model's seed, so that the views differ from those of the training steps."""


@dataclasses.dataclass(frozen=True)
class Vitals:
    """The results of a check; None for those that do not apply to the method.

    Attributes:
        step: number of training steps so far.
        effective_rank: see `evaluation.effective_rank`.
        uniformity: see `evaluation.uniformity`.
        alignment: mean squared distance of the embeddings of two views; see `evaluation.alignment`.
        positive_cosine: mean cosine of the projections of two views of an image.
        negative_cosine: mean cosine of the projections of two images.
        view_difference: mean difference in gray levels between two views of an image.
        prototypes_used: effective number of prototypes, the exponential of the entropy of how often
            each is the nearest.
        top_prototype: share of the images that are nearest to the most frequent prototype.
        largest_score: largest absolute score of a prototype, a cosine if all are normalized.
        prototype_excess: largest difference of a prototype's length from 1, beyond the change of
            the last step; about 0 if they are normalized before every step.
        code_entropy: mean entropy of softmax(scores / temperature), in nats.
        loss: mean loss of the epoch so far.
        floor: the loss if all positives had cosine 1 and all negatives 0.
        ceiling: log K, the loss if all K candidates were equal.
        gradient_norm: norm of the gradient of the last step, on one replica.
        movement: relative change of the encoder's kernels since the start, in norm.
        growth: norm of the encoder's kernels, relative to that at the start.
        update: relative change of these kernels in the last step, in norm (or in the last
            execution, if it has several steps).
        queue_age: number of steps until a key leaves the queue.
        self_hits: expected share of the keys in a queue whose image also has a newer key.
    """

    step: int
    effective_rank: float | None = None
    uniformity: float | None = None
    alignment: float | None = None
    positive_cosine: float | None = None
    negative_cosine: float | None = None
    view_difference: float | None = None
    prototypes_used: float | None = None
    top_prototype: float | None = None
    largest_score: float | None = None
    prototype_excess: float | None = None
    code_entropy: float | None = None
    loss: float | None = None
    floor: float | None = None
    ceiling: float | None = None
    gradient_norm: float | None = None
    movement: float | None = None
    growth: float | None = None
    update: float | None = None
    queue_age: float | None = None
    self_hits: float | None = None

    def known(self) -> dict[str, float]:
        """The values that are not None, without `step`."""
        found = dataclasses.asdict(self)
        return {
            name: value for name, value in found.items() if value is not None and name != "step"
        }


def measure_views(model: PretextModel, images: np.ndarray, step: int) -> dict[str, float]:
    """Embeds two views of some images in inference mode.

    Args:
        model: the model.
        images: uint8 `[n, h, w, c]`.
        step: step of the random draws.

    Returns:
        Fields of `Vitals`; empty if there are not two views of the same size.
    """
    pair = _two_views(model, images, step)
    if pair is None:
        return {}
    difference = np.abs(np.asarray(pair[0], np.float32) - np.asarray(pair[1], np.float32)).mean()
    features = [model.encoder(view, training=False) for view in pair]
    first, second = (np.asarray(tf.cast(one, tf.float32)) for one in features)
    found = {"view_difference": float(difference)}
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        return found
    a, b = normalize(first), normalize(second)
    found |= {
        "effective_rank": effective_rank(first),
        "uniformity": uniformity(first),
        "alignment": float(np.mean(np.sum((a - b) ** 2, axis=1))),
    }
    projected = [_projection(model, one) for one in features]
    scores = normalize(projected[0]) @ normalize(projected[1]).T
    count = len(scores)
    found["positive_cosine"] = float(np.trace(scores) / count)
    found["negative_cosine"] = float((scores.sum() - np.trace(scores)) / (count * (count - 1)))
    return found | _prototypes(model, projected[0])


def _two_views(model, images, step):
    """Two views of each image as float tensors of the same shape `[n, h, w, c]`, or None."""
    seed = model.seed + SEED_APART
    images = tf.constant(images)
    steps = [
        tf.constant(step, "int64"),
        tf.constant(step + 1, "int64"),
    ]  # tensors, for a single trace
    views = [
        view
        for s in steps
        for view in tf.nest.flatten(model.views(images, seed=seed, step=s, first_row=0))
        if len(view.shape) == 4 and view.shape[0] == len(images)
    ]
    same = [view for view in views[1:] if view.shape == views[0].shape]
    return (views[0], same[0]) if same else None


def _projection(model, features):
    """The projection of features `[n, d]`, if the method has a plain head; else the features."""
    head = getattr(model, "head", None)
    plain = isinstance(head, keras.Model) and head.input_shape[-1] == features.shape[-1]
    projected = head(features, training=False) if plain else features
    return np.asarray(tf.cast(projected, tf.float32))


def _prototypes(model, projected):
    prototypes = getattr(model, "prototypes", None)
    if not isinstance(prototypes, Prototypes):
        return {}
    # With training=True, the rows are not normalized.
    scores = np.asarray(prototypes(tf.constant(projected), training=True), np.float64)
    shares = np.bincount(scores.argmax(axis=1), minlength=prototypes.count) / len(scores)
    nonzero = shares[shares > 0]
    logits = scores / float(model.temperature)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    return {
        "prototypes_used": float(np.exp(-np.sum(nonzero * np.log(nonzero)))),
        "top_prototype": float(shares.max()),
        "largest_score": float(np.abs(scores).max()),
        "code_entropy": float(np.mean(-np.sum(p * np.log(np.maximum(p, 1e-30)), axis=1))),
    }


def queues(model: PretextModel) -> list:
    """The key queues of a model."""
    found = [getattr(model, "queue", None), *(getattr(model, "queues", None) or [])]
    return [queue for queue in found if queue is not None]


def candidates(model: PretextModel, batch_size: float | None) -> int | None:
    """K, the number of candidates among which a query must find its positive; None if unknown."""
    if isinstance(getattr(model, "prototypes", None), Prototypes):
        return model.prototypes.count
    if getattr(model, "queue", None) is not None:
        return model.queue.size + 1
    if getattr(model, "bank", None) is not None or batch_size is None:
        return None
    return max(2, int(2 * batch_size) - 1)


def loss_range(model: PretextModel, batch_size: float | None) -> dict[str, float]:
    """`floor` and `ceiling` of an InfoNCE loss, as fields of `Vitals`; {} if unknown."""
    temperature, count = getattr(model, "temperature", None), candidates(model, batch_size)
    if count is None or not isinstance(temperature, (int, float)) or temperature <= 0:
        return {}
    return {
        "floor": math.log1p((count - 1) * math.exp(-1 / temperature)),
        "ceiling": math.log(count),
    }


class Weights:
    """Tracks how far some kernels of an encoder and the prototypes of a model have moved."""

    MAX = 8

    def __init__(self, model: PretextModel):
        every = [v for v in model.encoder.trainable_variables if len(v.shape) > 1]
        rows = np.unique(np.linspace(0, len(every) - 1, min(len(every), self.MAX)).astype(int))
        self._kernels = [every[row] for row in rows] if every else []
        prototypes = getattr(model, "prototypes", None)
        self._prototypes = prototypes.rows if isinstance(prototypes, Prototypes) else None
        self._start = self._read()
        self._last = self._last_prototypes = None

    def remember(self) -> None:
        """Keeps the current values as those before the next step."""
        self._last = self._read()
        if self._prototypes is not None:
            self._last_prototypes = self._prototypes.numpy()

    def measure(self) -> dict[str, float]:
        """`movement`, `growth` and, after `remember`, `update` and `prototype_excess`."""
        now, found = self._read(), {}
        if now.size:
            length = max(float(np.linalg.norm(now)), 1e-30)
            start = max(float(np.linalg.norm(self._start)), 1e-30)
            found["movement"] = float(np.linalg.norm(now - self._start) / start)
            found["growth"] = float(length / start)
            if self._last is not None:
                found["update"] = float(np.linalg.norm(now - self._last) / length)
        if self._last_prototypes is not None:
            found["prototype_excess"] = self._excess(self._last_prototypes)
        self._last = self._last_prototypes = None
        return found

    def _excess(self, before):
        rows = self._prototypes.numpy()
        begun = before / np.maximum(np.linalg.norm(before, axis=1, keepdims=True), 1e-30)
        change = np.linalg.norm(rows - begun, axis=1)  # of a step that began with unit rows
        change = np.minimum(change, np.linalg.norm(rows - before, axis=1))
        return float(np.max(np.abs(np.linalg.norm(rows, axis=1) - 1) - change))

    def _read(self):
        return np.concatenate([np.ravel(v.numpy()) for v in self._kernels] or [np.zeros(0)])
