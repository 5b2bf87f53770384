"""What the methods with a memory bank share: queries against the rows of the bank."""

import tensorflow as tf

from cl_keras.losses import softmax_over_candidates
from cl_keras.losses.noise_contrastive import RunningPartition
from cl_keras.negatives.memory_bank import MemoryBank, check_momentum
from cl_keras.training import checks
from cl_keras.training.contrastive_model import ContrastiveModel
from cl_keras.training.objective import Objective, hits_of

LOSSES = ("nce", "softmax")


class BankModel(ContrastiveModel):
    """Every image is a class of its own, whose vector is its row of a memory bank.

    A subclass writes `queries`. The loss is NCE against images drawn for each (`loss="nce"`;
    `losses.noise_contrastive`), or a softmax over the whole bank (`loss="softmax"`). With
    `gradient_accumulation`, the first batch of NCE, which has no Z of earlier ones, takes that of
    each part.

    Each image must come with its index, its place in the data set; arrays and `data.load` have it.
    The bank knows the images that it was trained on, so `evaluate` means something for these alone.

    NOTE: each epoch needs an order of its own, of all images. Where one epoch goes nearly as the
    next, as after a shuffle within blocks, an image's own row is always about an epoch old; since
    the encoder drifts, it learns to tell the age of a row instead of the image. The loss falls, and
    rises again when the learning rate, and so the drift, goes to 0. Sources of `data` are shuffled
    whole, but for TensorFlow Datasets above 1 GiB; `fit` warns of these.

    Args:
        encoder: a `keras.Model` from images to vectors.
        views: what makes the views of a batch of images.
        num_images: N, rows of the bank.
        num_negatives: K, drawn for each image with replacement; for `"nce"` alone.
        loss: `"nce"` or `"softmax"`.
        temperature: τ.
        bank_momentum: m, in [0, 1).
        output_dim: d, width of the bank.
        seed: of the views, the bank at the start, and the images drawn.

    Raises:
        ValueError: for a loss of another name, or a value out of range.
    """

    def __init__(
        self,
        encoder,
        *,
        views,
        num_images,
        num_negatives,
        loss,
        temperature,
        bank_momentum,
        output_dim,
        seed,
        **kwargs,
    ):
        super().__init__(encoder, views=views, temperature=temperature, seed=seed, **kwargs)
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {list(LOSSES)}; received {loss!r}.")
        self.bank = MemoryBank(num_images, output_dim, seed=seed)
        self.bank_momentum = check_momentum(bank_momentum)
        self.num_negatives = num_negatives
        self.partition = None
        if loss == "nce":
            self.partition = RunningPartition(num_images, temperature=temperature)

    query_weights = (1.0,)
    """What each of `queries` counts in the loss."""

    def queries(self, views, training):
        """Embeddings of the views, a list of `[b, d]`; the last one also moves the bank."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it looks for.")

    def objective(self, batch, training):
        index = self.bank.checked(batch.get("index"))
        queries = self.queries(batch["views"], training)
        kept = {"index": index, "vectors": queries[-1]}
        if self.partition is None:
            targets, scores = self.bank.against_all(queries, index)
            each = softmax_over_candidates(targets, scores, self.temperature)
        else:
            seed, step = (self.seed, self.step.value) if training else (self.seed + 1, 0)
            targets, scores = self.bank.against_drawn(
                queries, index, self.num_negatives, seed=seed, step=step
            )
            each = self.partition.losses_of(scores)
            kept["partitions"] = self.partition.estimates(scores)
        means = [tf.reduce_mean(losses) for losses in tf.split(each, len(queries))]
        loss = sum(w * mean for w, mean in zip(self.query_weights, means, strict=True))
        return Objective(loss, hits_of(targets, scores)).keep(kept)

    def after_step(self, kept):
        self.bank.update(kept["index"], kept["vectors"], self.bank_momentum)
        if self.partition is not None:
            self.partition.update(kept["partitions"])

    def check_data(self, dataset):
        checks.check_index(self, dataset, self.bank.size)
        checks.check_order(self, dataset)

    def get_config(self):
        return {
            **super().get_config(),
            "num_images": self.bank.size,
            "num_negatives": self.num_negatives,
            "loss": "softmax" if self.partition is None else "nce",
            "bank_momentum": self.bank_momentum,
            "output_dim": self.bank.dim,
        }
