"""The base of methods with a memory bank: queries are compared with the rows of the bank."""

import functools
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cl_keras import heads
from cl_keras.bounds import check_memory
from cl_keras.losses import (
    Queries,
    noise_contrastive,
    softmax_over_bank,
    softmax_over_candidates,
)
from cl_keras.negatives.memory_bank import MemoryBank, check_momentum
from cl_keras.negatives.partition import RunningPartition
from cl_keras.training import checks
from cl_keras.training.contrastive_model import ContrastiveModel
from cl_keras.training.objective import Objective, mean_over

LOSSES = ("nce", "info_nce", "softmax")

HEADS = {"linear": heads.linear, "mlp": heads.mlp}


class BankModel(ContrastiveModel):
    """Each image is its own class, represented by its row in a memory bank.

    A subclass defines `queries`. The loss is NCE against images drawn for each query (`loss="nce"`;
    `losses.noise_contrastive`), a softmax over the image's own row and the drawn rows
    (`loss="info_nce"`), or a softmax over the whole bank (`loss="softmax"`). With
    `gradient_accumulation`, NCE has no earlier estimate of Z in the first step, so each micro-batch
    uses its own.

    Every image needs its index, its row in the data set; arrays and `data.load` provide it. The
    bank only knows the images it was trained on, so `evaluate` is only meaningful for those.

    NOTE: every epoch needs a new order of all images. If every epoch visits the images in nearly
    the same order, as after a shuffle within blocks, an image's row is always about one epoch old;
    since the encoder drifts, it learns to recognize the age of a row instead of the image. The loss
    falls, and rises again as the learning rate, and with it the drift, goes to 0. Sources of `data`
    are shuffled as a whole, except TensorFlow Datasets above 1 GiB, for which `fit` warns.

    Args:
        encoder: a `keras.Model` from images to vectors.
        views: a callable that makes the views of a batch of images.
        num_images: N, the number of rows of the bank.
        num_negatives: K, drawn with replacement for each image; unused by `"softmax"`.
        loss: `"nce"`, `"info_nce"` or `"softmax"`.
        temperature: τ.
        bank_momentum: m, in [0, 1).
        head: `"linear"`, `"mlp"`, or a `keras.Model` from the representation to the embedding,
            whose width becomes d, the width of the bank.
        output_dim: d, for a head given by name.
        seed: for the views, the initial bank, and the images drawn.

    Raises:
        ValueError: for an unknown loss, or a value out of range.
    """

    def __init__(
        self,
        encoder: keras.Model,
        *,
        views: Callable,
        num_images: int,
        num_negatives: int,
        loss: str,
        temperature: float,
        bank_momentum: float,
        head: str | keras.Model,
        output_dim: int,
        seed: int,
        **kwargs,
    ):
        super().__init__(encoder, views=views, temperature=temperature, seed=seed, **kwargs)
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {list(LOSSES)}; received {loss!r}.")
        presets: dict[str, Callable] = {
            name: functools.partial(f, output_dim=output_dim) for name, f in HEADS.items()
        }
        self.head = self.build_head(head, presets)
        self.num_images = int(num_images)
        self.bank = MemoryBank(num_images, self.head.output_shape[-1], seed=seed)
        self.bank_momentum = check_momentum(bank_momentum)
        if loss != "softmax":
            check_memory([2, num_negatives], "A table of scores", "Draw fewer negatives.")
        self.num_negatives = num_negatives
        self.loss_name, self.partition = loss, None
        if loss == "nce":
            self.partition = RunningPartition(num_images, temperature=temperature)

    num_images: int

    query_weights: tuple[float, ...] = (1.0,)
    """Weight of each of the `queries` in the loss."""

    def queries(self, views: tuple, training: bool) -> list[tf.Tensor]:
        """Embeddings of the views, a list of `[b, d]`; the last one also updates the bank."""
        raise NotImplementedError(f"{type(self).__name__} must define queries(views, training).")

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        index = self.bank.checked(batch.get("index"))
        queries = self.queries(batch["views"], training)
        outcome, estimates = getattr(self, f"_{self.loss_name}")(queries, index, training)
        terms = [tf.split(each, len(queries)) for each in outcome[:2]]
        terms = [mean_over(Queries(*each)) for each in zip(*terms, strict=True)]
        weighted = [w * term for w, term in zip(self.query_weights, terms, strict=True)]
        kept = {"index": index, "vectors": queries[-1], "partitions": estimates}
        return sum(weighted[1:], start=weighted[0]).keep(kept)

    def _softmax(self, queries, index, training):
        queries, index = tf.concat(queries, axis=0), tf.tile(index, [len(queries)])
        return softmax_over_bank(queries, index, self.bank, temperature=self.temperature), None

    def _info_nce(self, queries, index, training):
        def outcome(scores):
            first = tf.zeros_like(scores[:, 0], tf.int32)
            found = softmax_over_candidates(first, scores, self.temperature)
            return [found.losses, tf.cast(found.hits, scores.dtype)]

        losses, hits = self._against_drawn(queries, index, outcome, training, own_drawn=False)
        return Queries(losses, hits > 0), None

    def _nce(self, queries, index, training):
        def estimates():
            return against(lambda scores: [self.partition.estimates(scores)])[0]

        def outcome(scores):
            found = noise_contrastive(
                scores, log_z, temperature=self.temperature, num_images=self.num_images
            )
            hits = tf.cast(found.hits, scores.dtype)
            return [found.losses, hits, self.partition.estimates(scores)]

        against = functools.partial(
            self._against_drawn, queries, index, training=training, own_drawn=True
        )
        log_z = self.partition.log_z_for(estimates)
        losses, hits, partitions = against(outcome)
        return Queries(losses, hits > 0), partitions

    def _against_drawn(self, queries, index, outcome, training, own_drawn):
        seed, step = (self.seed, self.step.value) if training else (self.seed + 1, 0)
        return self.bank.against_drawn(
            queries,
            index,
            self.num_negatives,
            outcome,
            seed=seed,
            step=step,
            own_drawn=own_drawn,
        )

    def after_step(self, kept: Any) -> None:
        self.bank.update(kept["index"], kept["vectors"], self.bank_momentum)
        if self.partition is not None:
            self.partition.update(kept["partitions"])

    def check_data(self, dataset: tf.data.Dataset) -> None:
        checks.check_index(self, dataset, self.num_images)
        checks.check_order(self, dataset)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_images": self.num_images,
            "num_negatives": self.num_negatives,
            "loss": self.loss_name,
            "bank_momentum": self.bank_momentum,
            "head": keras.saving.serialize_keras_object(self.head),
            "output_dim": self.bank.dim,
        }
