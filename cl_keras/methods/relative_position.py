"""Relative position: predict where the second patch lies."""

from collections.abc import Callable
from typing import Any

import keras

from cl_keras import heads
from cl_keras.losses import softmax_over_candidates
from cl_keras.training.objective import Objective, mean_over
from cl_keras.training.pretext_model import PretextModel
from cl_keras.training.recipe import Recipe, small_recipe
from cl_keras.views import relative_position

NUM_POSITIONS = 8


@keras.saving.register_keras_serializable("cl_keras")
class RelativePosition(PretextModel):
    """Unsupervised Visual Representation Learning by Context Prediction (Doersch et al. 2015).

    The encoder sees the middle patch of a 3×3 grid and one of the eight around it, each by itself;
    a small network on both, g, predicts which of the eight it is:

        L = -log softmax(g(f(p_middle), f(p_other)))^(position)

    Chance is log 8. Gaps and jitter between the patches, and defenses against chromatic aberration,
    keep the answer from being read off continuing lines or the lens.

    NOTE: g has one hidden layer here; the authors' has two of width 4,096.

    Args:
        encoder: a `keras.Model` from patches of any size to vectors.
        views: a callable that cuts a pair of patches from each image and gives the position of the
            second one, such as `views.relative_position(398)`.
        hidden_dim: width of the hidden layer of g; default: twice the encoder's.
        seed: of the views; default: 0.
    """

    accuracy_name = "accuracy"

    recipes = {
        "published": Recipe(
            # The authors sum over the pairs of about 512 patches, at a rate of 1e-5, with no end.
            origin="cdoersch/deepcontext train.py",
            batch_size=512,
            epochs=100,
            optimizer="sgd",
            learning_rate=0.005,
            rate_batch=512,
            weight_decay=0.0,
            schedule="constant",
        ),
        "small": small_recipe(options={}),
    }

    def __init__(
        self,
        encoder: keras.Model,
        *,
        views: Callable,
        hidden_dim: int | None = None,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(encoder, views=views, seed=seed, **kwargs)
        self.hidden_dim = hidden_dim
        self.head = heads.joint_classifier(
            self.encoder.output_shape[-1],
            num_patches=2,
            num_classes=NUM_POSITIONS,
            hidden_dim=hidden_dim,
        )

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        patches, position = batch["views"]
        logits = self.head(self.encode_patches(patches, training), training=training)
        return mean_over(softmax_over_candidates(position, logits, 1.0))

    @classmethod
    def default_views(cls, image_size: int, channels: int = 3, **changes) -> Callable:
        return relative_position(image_size, channels, **changes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hidden_dim": self.hidden_dim}
