"""SimCLR: every other view in the batch is a negative."""

from collections.abc import Callable
from typing import Any

import keras

from cl_keras import heads
from cl_keras.losses import nt_xent
from cl_keras.training.contrastive_model import ContrastiveModel
from cl_keras.training.objective import Objective, mean_over
from cl_keras.training.recipe import Recipe, small_recipe

HEADS = {"v1": heads.simclr_v1, "v2": heads.simclr_v2}


@keras.saving.register_keras_serializable("cl_keras")
class SimCLR(ContrastiveModel):
    """A Simple Framework for Contrastive Learning of Visual Representations (Chen et al. 2020).

    Two views `x̃_2k-1, x̃_2k` of each image are encoded, `h = f(x̃)`, and projected, `z = g(h)`. For
    a positive pair (i, j) among the 2B views of the global batch,

        ℓ(i,j) = -log( exp(cos(z_i, z_j)/τ) / Σ_{k≠i} exp(cos(z_i, z_k)/τ) )

    and the loss is its mean over all 2B views. "Big Self-Supervised Models are Strong
    Semi-Supervised Learners" (Chen et al. 2020, v2) has a deeper head.

    Args:
        encoder: a `keras.Model` from images to vectors; see `encoders.as_encoder`.
        views: a callable that makes two views of a batch of images, such as `views.simclr(96)`.
        head: `"v1"` (two layers), `"v2"` (three), or a `keras.Model` from the representation to
            the projection; default: `"v1"`.
        temperature: τ; default: 0.1, for ImageNet; 0.2 to 0.5 suits small images.
        seed: of the views; default: 0.
    """

    recipes = {
        "published": Recipe(
            origin="google-research/simclr README.md; Chen et al. 2020",
            batch_size=4096,
            epochs=1000,
            optimizer="lars",
            learning_rate=0.3,
            weight_decay=1e-6,
            warmup_epochs=10,
            zero_init_residual=True,
        ),
        "cifar": Recipe(
            origin="google-research/simclr README.md, CIFAR-10; Chen et al. 2020, appendix B.9",
            batch_size=512,
            epochs=1000,
            optimizer="lars",
            learning_rate=1.0,
            weight_decay=1e-4,
            warmup_epochs=10,
            zero_init_residual=True,
            encoder="resnet18",
            options={"temperature": 0.5},
        ),
        "small": small_recipe(options={"temperature": 0.2}),
    }

    def __init__(
        self,
        encoder: keras.Model,
        *,
        views: Callable,
        head: str | keras.Model = "v1",
        temperature: float = 0.1,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(encoder, views=views, temperature=temperature, seed=seed, **kwargs)
        self.head = self.build_head(head, HEADS)

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        view0, view1 = self.encode_views(batch["views"], training)
        return mean_over(nt_xent(view0, view1, temperature=self.temperature))

    def get_config(self) -> dict[str, Any]:
        head = keras.saving.serialize_keras_object(self.head)
        return {**super().get_config(), "head": head}
