"""TwoTower: two encoders, one for each side of a pair."""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cl_keras import distribute, heads
from cl_keras.losses.two_sided import clip, siglip
from cl_keras.training.objective import Objective, mean_over
from cl_keras.training.pretext_model import PretextModel
from cl_keras.training.recipe import Recipe, small_recipe
from cl_keras.views import inst_disc

LOSSES = ("softmax", "sigmoid")
HEADS = {"linear": heads.linear, "mlp": heads.mlp}
MAX_SCALE = 100.0
"""Upper limit of the scale of the cosines, as in CLIP, where training was unstable beyond it."""


@keras.saving.register_keras_serializable("cl_keras")
class TwoTower(PretextModel):
    """Two encoders, trained together on pairs of matching inputs.

    The pairs may be two photographs of the same object, or an image and a spectrum, a table row or
    token ids: whatever the elements of the dataset hold. With unit vectors `x = g(f(image))` and
    `y = g'(f'(other))`, and the other pairs of the global batch as negatives,

        softmax   L = ½ ( CE(e^a · x·yᵀ) + CE(e^a · y·xᵀ) )             Radford et al. 2021 (CLIP)
        sigmoid   L = -1/B Σ_i Σ_j log σ( y_ij (e^a x_i·y_j + b) )      Zhai et al. 2023 (SigLIP)

    where a and b are learned. The metric `recall_at_1` is the share of images whose nearest
    neighbor in the batch is their partner; `evaluation.cross_retrieval` evaluates held-out pairs.

    NOTE: optimizers that leave out scalars, such as `LARS`, do not decay a; with others, exclude
    `log_scale` and `bias` by `optimizer.exclude_from_weight_decay`.

    Args:
        encoder: a `keras.Model` from images to vectors; the one that `predict`, export and
            evaluation use.
        other_encoder: a built `keras.Model` from the other input to vectors `[b, d']`.
        views: a callable that makes one view of a batch of images; default: None, the images as
            they are.
        other: key of the other input in the elements of the dataset; default: `"other"`.
        other_views: a callable that makes one view of the other input, if it is images too;
            default: None.
        loss: `"softmax"` or `"sigmoid"`; default: `"softmax"`.
        head: `"linear"`, `"mlp"`, or a `keras.Model`, on the first encoder; default: `"linear"`.
        other_head: the same on the other encoder; default: `"linear"`.
        seed: of the views; default: 0.

    Raises:
        ValueError: for an unknown loss, or heads of different widths.
    """

    accuracy_name = "recall_at_1"

    recipes = {
        "published": Recipe(
            origin="Radford et al. 2021, appendix F",
            batch_size=32_768,
            epochs=32,
            optimizer="adamw",
            learning_rate=5e-4,
            rate_power=0.0,
            weight_decay=0.2,
            warmup_epochs=0.16,  # 2,000 steps
        ),
        # The data say what belongs together; the views only add that a crop changes nothing.
        "small": small_recipe(
            options={},
            epochs=20,
            views={"crop_area": (0.5, 1.0), "flip": 0.0, "color_probability": 0.0},
        ),
    }

    def __init__(
        self,
        encoder: keras.Model,
        other_encoder: keras.Model,
        *,
        views: Callable | None = None,
        other: str = "other",
        other_views: Callable | None = None,
        loss: str = "softmax",
        head: str | keras.Model = "linear",
        other_head: str | keras.Model = "linear",
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(encoder, views=views, seed=seed, **kwargs)
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {list(LOSSES)}; received {loss!r}.")
        self.other, self.other_views, self.loss_name = other, other_views, loss
        self.other_encoder = other_encoder
        self.head = self.build_head(head, HEADS)
        self.other_head = self.build_head(other_head, HEADS, encoder=other_encoder)
        widths = self.head.output_shape[-1], self.other_head.output_shape[-1]
        if widths[0] != widths[1]:
            raise ValueError(
                f"head and other_head must give vectors of the same width; received {widths[0]} "
                f"and {widths[1]}."
            )
        self.log_scale = self._scalar("log_scale", math.log(1 / 0.07 if loss == "softmax" else 10))
        self.bias = self._scalar("bias", -10.0) if loss == "sigmoid" else None

    def _scalar(self, name, value):
        return self.add_weight(name=name, shape=[], initializer=keras.initializers.Constant(value))

    def make_batch(self, data: Any, seed: int, step: tf.Tensor) -> dict[str, Any]:
        batch = super().make_batch(data, seed, step)
        if self.other_views is not None:
            rows = tf.shape(batch[self.other])[0]
            draw = {"seed": seed + 1000, "step": step, "first_row": distribute.first_row(rows)}
            batch[self.other] = self.other_views(batch[self.other], **draw)[0]
        return batch

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        first = self.head(self.encoder(batch["views"][0], training=training), training=training)
        second = self.embed_other(batch[self.other], training)
        scale = tf.minimum(tf.exp(self.log_scale.value), MAX_SCALE)
        if self.bias is not None:
            return mean_over(siglip(first, second, scale, self.bias.value))
        to_second, to_first = clip(first, second, scale)
        return 0.5 * (mean_over(to_second) + mean_over(to_first))

    def embed(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds images in the shared space, `[b, d]`, not normalized."""
        return self.head(self.encoder(images, training=training), training=training)

    def embed_other(self, inputs: Any, training: bool = False) -> tf.Tensor:
        """Embeds the other inputs in the shared space, `[b, d]`, not normalized."""
        return self.other_head(self.other_encoder(inputs, training=training), training=training)

    def check_data(self, dataset: tf.data.Dataset) -> None:
        spec = dataset.element_spec
        if not isinstance(spec, dict) or self.other not in spec:
            raise ValueError(
                f'TwoTower needs pairs: elements of {{"image", "{self.other}"}}; received {spec}. '
                'Load images in two folders with data.load("pairs:PATH"), or give the key of the '
                "other input as other=."
            )

    @classmethod
    def default_views(cls, image_size: int, channels: int = 3, **changes) -> Callable:
        return inst_disc(image_size, channels, **changes)

    def get_config(self) -> dict[str, Any]:
        serialize = keras.saving.serialize_keras_object
        return {
            **super().get_config(),
            "other_encoder": serialize(self.other_encoder),
            "other": self.other,
            "other_views": serialize(self.other_views),
            "loss": self.loss_name,
            "head": serialize(self.head),
            "other_head": serialize(self.other_head),
        }
