"""CPC: the context of the rows above predicts the patches below."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from absl import logging

from cl_keras import distribute
from cl_keras.encoders import BatchNormalization
from cl_keras.heads.context import context_network
from cl_keras.losses import softmax_over_candidates
from cl_keras.similarity import at_least_float32
from cl_keras.training.objective import Objective, mean_over
from cl_keras.training.pretext_model import PretextModel
from cl_keras.training.recipe import Recipe, small_recipe
from cl_keras.views import patch_grid

BATCH_NORMALIZATION = (BatchNormalization, keras.layers.BatchNormalization)
DIRECTIONS = ("down", "up", "right", "left")
PREDICTION_SCALE = 0.1
"""Factor of the predictions, which keeps the softmax soft at the start."""


@keras.saving.register_keras_serializable("cl_keras")
class CPC(PretextModel):
    """Contrastive Predictive Coding v2 (van den Oord et al. 2018; Hénaff et al. 2020).

    An image is cut into a grid of overlapping patches, each encoded to `z_{i,j}`. A masked
    convolutional network summarizes the rows above in a context `c_{i,j}`, from which the patch k
    rows below is predicted, `ẑ_{i+k,j} = W_k·c_{i,j}`; all other patches of this image, and of the
    others in the global batch, are the negatives:

        L = mean over directions and k of  -log( exp(ẑ_{i+k,j}·z_{i+k,j}) / Σ_l exp(ẑ_{i+k,j}·z_l) )

    The scores are inner products, not cosines. Each direction (down, up, right, left) has its own
    context network.

    NOTE: the representation that `predict` and the export give is that of the whole image; the
    authors take the mean over the patches.

    Args:
        encoder: a `keras.Model` from patches of any size to vectors, such as
            `encoders.resnet50(norm="layer")`. Batch normalization would leak the targets from patch
            to patch.
        views: a callable that cuts a batch of images into patches, such as
            `views.patch_grid(260)`.
        steps: how many rows k ahead to predict; default: (2, 3). Overlapping patches give the next
            row away.
        directions: any of `"down"`, `"up"`, `"right"`, `"left"`; default: all four.
        target_dim: width in which predictions and patches are compared; default: 64.
        context_layers: number of blocks of a context network; default: 5.
        seed: of the views; default: 0.

    Raises:
        ValueError: for an unknown direction, or steps below 1.
    """

    accuracy_name = "contrastive_accuracy"
    encoder_norm = "layer"

    recipes = {
        "published": Recipe(
            origin="Hénaff et al. 2020, appendix",
            batch_size=512,
            epochs=200,
            optimizer="adam",
            learning_rate=4e-4,
            rate_power=0.0,
            weight_decay=0.0,
            schedule="constant",
        ),
        # Patches of half the side: in smaller ones of a small image there is little to see.
        "small": small_recipe(
            epochs=5,
            options={"steps": (1, 2), "context_layers": 1},
            views={"grid": 3, "patch_share": 0.5},
        ),
    }

    def __init__(
        self,
        encoder: keras.Model,
        *,
        views: Callable,
        steps: tuple[int, ...] = (2, 3),
        directions: tuple[str, ...] = DIRECTIONS,
        target_dim: int = 64,
        context_layers: int = 5,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(encoder, views=views, seed=seed, **kwargs)
        if not directions or set(directions) - set(DIRECTIONS):
            raise ValueError(f"directions must be of {DIRECTIONS}; received {directions!r}.")
        if not steps or min(steps) < 1:
            raise ValueError(f"steps must be row offsets of at least 1; received {steps!r}.")
        self.steps, self.directions = tuple(steps), tuple(directions)
        self.target_dim, self.context_layers = target_dim, context_layers
        width = self.encoder.output_shape[-1]
        self.contexts = [
            context_network(width, layers=context_layers, name=f"context_{direction}")
            for direction in directions
        ]
        self.target_layer = _linear(width, target_dim, "target")
        self.predictors = [
            _linear(width, target_dim, f"predict_{direction}_{step}")
            for direction in directions
            for step in self.steps
        ]
        if any(isinstance(layer, BATCH_NORMALIZATION) for layer in _layers(encoder)):
            logging.warning(
                f"CPC: {encoder.name!r} has batch normalization, through which patches leak into "
                'each other; use layer normalization, as in encoders.resnet50(norm="layer").'
            )

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        patches = batch["views"]  # [b, g², p, p, C]
        side = round(patches.shape[1] ** 0.5)
        z = self.encode_patches(patches, training)
        grid = tf.reshape(z, [-1, side, side, z.shape[-1]])
        terms = [
            term
            for number in range(len(self.directions))
            for term in self._predict(grid, number, training)
        ]
        return (1.0 / len(terms)) * sum(terms[1:], start=terms[0])

    def _predict(self, grid, number, training):
        """One term per step, with the grid turned so that direction `number` points down."""
        grid = _turned(grid, self.directions[number])
        side, local = grid.shape[1], tf.shape(grid)[0]
        targets = at_least_float32(self.target_layer(grid))
        candidates = distribute.gather(tf.reshape(targets, [-1, self.target_dim]))
        position = tf.reshape(tf.range(side * side), [side, side])
        image = distribute.own_rows(local)
        seen = self.contexts[number](grid, training=training)
        predictors = self.predictors[number * len(self.steps) :]
        for step, predictor in zip(self.steps, predictors, strict=False):
            predicted = at_least_float32(predictor(seen[:, : side - step])) * PREDICTION_SCALE
            scores = tf.matmul(
                tf.reshape(predicted, [-1, self.target_dim]), candidates, transpose_b=True
            )
            target = image[:, None] * side * side + tf.reshape(position[step:], [1, -1])
            yield mean_over(softmax_over_candidates(tf.reshape(target, [-1]), scores, 1.0))

    @classmethod
    def default_views(cls, image_size: int, channels: int = 3, **changes) -> Callable:
        return patch_grid(image_size, channels, **changes)

    def check_data(self, dataset: tf.data.Dataset) -> None:
        grid = getattr(self.views, "grid", None)
        if grid is not None and max(self.steps) >= grid:
            raise ValueError(
                f"CPC predicts {max(self.steps)} rows ahead, but the grid of the views has only "
                f"{grid} rows. Give steps below that, or views with more patches."
            )

    def get_config(self) -> dict[str, Any]:
        names = ("steps", "directions", "target_dim", "context_layers")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _turned(grid, direction):
    if direction in ("right", "left"):
        grid = tf.transpose(grid, [0, 2, 1, 3])
    return grid if direction in ("down", "right") else grid[:, ::-1]


def _linear(input_dim, units, name):
    layer = keras.layers.Dense(units, use_bias=False, name=name)
    layer.build([None, input_dim])
    return layer


def _layers(model):
    for layer in model.layers:
        yield from _layers(layer) if isinstance(layer, keras.Model) else [layer]
