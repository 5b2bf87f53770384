"""Jigsaw: predict the order of the shuffled pieces."""

from collections.abc import Callable
from typing import Any

import keras

from cl_keras import heads
from cl_keras.losses import softmax_over_candidates
from cl_keras.training.objective import Objective, mean_over
from cl_keras.training.pretext_model import PretextModel
from cl_keras.training.recipe import Recipe, small_recipe
from cl_keras.views import jigsaw

NUM_PERMUTATIONS = 100
"""Default of the views: the size of the authors' published set (the paper has up to 1,000)."""


@keras.saving.register_keras_serializable("cl_keras")
class Jigsaw(PretextModel):
    """Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles (Noroozi 2016).

    The nine pieces of an image come in one of P orders, chosen to be far from each other. The
    encoder sees each piece by itself; a network on all of them, g, predicts the order:

        L = -log softmax(g(f(piece_1), …, f(piece_9)))^(order)

    Chance is log P. `PIRL` uses the same views for the opposite purpose: its representation must
    *not* depend on the order.

    Args:
        encoder: a `keras.Model` from pieces of any size to vectors.
        views: a callable that makes a puzzle of each image and gives the index of its order, such
            as `views.jigsaw(255, num_permutations=100)`.
        hidden_dim: width of the hidden layer of g; default: twice the encoder's.
        seed: of the views; default: 0.

    Raises:
        ValueError: for views without permutations.
    """

    accuracy_name = "accuracy"

    recipes = {
        "published": Recipe(
            origin="MehdiNoroozi/JigsawPuzzleSolver solver_cfn_jps.prototxt",
            batch_size=256,
            epochs=70,
            optimizer="sgd",
            learning_rate=0.01,
            weight_decay=5e-4,
            schedule="steps",  # NOTE: the authors divide by ten at 20, 40 and 60 of 70 epochs
        ),
        "small": small_recipe(options={}, views={"num_permutations": 24}),
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
        permutations = getattr(views, "permutations", None)
        if permutations is None:
            raise ValueError(
                "Jigsaw needs views that draw one of several orders, such as those of "
                f"views.jigsaw(255, num_permutations=100); received {views!r}."
            )
        self.hidden_dim = hidden_dim
        self.head = heads.joint_classifier(
            self.encoder.output_shape[-1],
            num_patches=len(permutations[0]),
            num_classes=len(permutations),
            hidden_dim=hidden_dim,
        )

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        pieces, order = batch["views"]
        logits = self.head(self.encode_patches(pieces, training), training=training)
        return mean_over(softmax_over_candidates(order, logits, 1.0))

    @classmethod
    def default_views(
        cls,
        image_size: int,
        channels: int = 3,
        *,
        num_permutations: int = NUM_PERMUTATIONS,
        **changes,
    ) -> Callable:
        return jigsaw(image_size, channels, num_permutations=num_permutations, **changes)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "hidden_dim": self.hidden_dim}
