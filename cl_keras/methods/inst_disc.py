"""InstDisc: every image is a class of its own, kept in a memory bank."""

import keras
import tensorflow as tf

from cl_keras import heads
from cl_keras.losses.noise_contrastive import RunningPartition
from cl_keras.methods import checks
from cl_keras.methods.contrastive_model import ContrastiveModel
from cl_keras.negatives.memory_bank import MemoryBank, check_momentum
from cl_keras.views.one_view import inst_disc as inst_disc_views

LOSSES = ("nce", "softmax")


@keras.saving.register_keras_serializable("cl_keras")
class InstDisc(ContrastiveModel):
    """Unsupervised Feature Learning via Non-Parametric Instance Discrimination (Wu et al. 2018).

    One view of image i is embedded, `v = g(f(x̃))` of unit length, and compared with the memory
    bank, whose row i is an average of earlier embeddings of image i:

        P(i|v) = exp(v·f_i/τ) / Σ_j exp(v·f_j/τ)

    The loss is `-log P(i|v)`, over the whole bank (`loss="softmax"`, for small data sets), or its
    estimate from K images drawn for each query (`loss="nce"`); see `losses.noise_contrastive`.
    After the step, `f_i ← normalise(m·f_i + (1 - m)·v)`.

    Each image must come with its index, its place in the data set; arrays and `data.load` have it.
    The bank knows the images that it was trained on, so `evaluate` means something for these alone.

    Args:
        encoder: a `keras.Model` from images to vectors; see `encoders.as_encoder`.
        views: what makes views of a batch of images; the first is used, so `views.inst_disc(96)`,
            which makes one, is the cheapest.
        num_images: N, images in the data set.
        num_negatives: K, with replacement; for `"nce"` alone.
        loss: `"nce"` or `"softmax"`. For CIFAR the authors take `"softmax"` and τ 0.1.
        temperature: τ.
        bank_momentum: m, in [0, 1).
        output_dim: d, width of the linear head.
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
        num_negatives=4096,
        loss="nce",
        temperature=0.07,
        bank_momentum=0.5,
        output_dim=128,
        seed=0,
        **kwargs,
    ):
        super().__init__(encoder, views=views, temperature=temperature, seed=seed, **kwargs)
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {list(LOSSES)}; received {loss!r}.")
        self.head = heads.linear(self.encoder.output_shape[-1], output_dim=output_dim)
        self.bank = MemoryBank(num_images, output_dim, seed=seed)
        self.bank_momentum = check_momentum(bank_momentum)
        self.num_negatives = num_negatives
        self.partition = None
        if loss == "nce":
            self.partition = RunningPartition(num_images, temperature=temperature)

    def contrast(self, views, index, training):
        index = self.bank.checked(index)
        query = self.head(self.encoder(views[0], training=training), training=training)
        remembered = index, tf.stop_gradient(query)
        if self.partition is None:
            return *self.bank.against_all([query], index), remembered
        seed, step = (self.seed, self.step.value) if training else (self.seed + 1, 0)
        targets, scores = self.bank.against_drawn(
            [query], index, self.num_negatives, seed=seed, step=step
        )
        if training:
            self.partition.update(scores)
        return targets, scores, remembered

    def query_losses(self, targets, scores):
        if self.partition is None:
            return super().query_losses(targets, scores)
        return self.partition.losses_of(scores)

    def advance(self, remembered):
        self.bank.update(*remembered, self.bank_momentum)

    @classmethod
    def default_views(cls, image_size, channels=3, **changes):
        return inst_disc_views(image_size, channels, **changes)

    def check_data(self, dataset):
        checks.check_index(self, dataset, self.bank.size)

    def get_config(self):
        return {
            **super().get_config(),
            "num_images": self.bank.size,
            "num_negatives": self.num_negatives,
            "loss": "softmax" if self.partition is None else "nce",
            "bank_momentum": self.bank_momentum,
            "output_dim": self.bank.dim,
        }
