"""MoCo v3: a momentum encoder without a queue."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from cl_keras.heads import projection
from cl_keras.losses import info_nce_in_batch
from cl_keras.negatives import MomentumEncoder
from cl_keras.training.contrastive_model import ContrastiveModel
from cl_keras.training.objective import Objective, mean_over
from cl_keras.training.recipe import AllSteps, Recipe, small_recipe
from cl_keras.views import RandomViews
from cl_keras.views import moco_v3 as moco_v3_views


@keras.saving.register_keras_serializable("cl_keras")
class MoCoV3(ContrastiveModel):
    """An Empirical Study of Training Self-Supervised Vision Transformers (Chen et al. 2021).

    Each view is a query, `q = p(g(f(x̃)))` with a predictor `p`, against the keys `k = g_m(f_m(x̃))`
    that a momentum encoder makes of the other view of all images of the global batch:

        L = 2τ · ( CE(q_1·k_2ᵀ/τ) + CE(q_2·k_1ᵀ/τ) )

    where the target of each query is its own image, and each CE is the mean over the batch. As in
    the authors' code, facebookresearch/moco-v3 `moco/builder.py`, for a ResNet: the projector has
    two layers and ends in a normalization without scale and offset, and the predictor ends in a
    linear layer.

    Args:
        encoder: a `keras.Model` from images to vectors; see `encoders.as_encoder`.
        views: a callable that makes two views of a batch of images.
        head: the projector, `"mlp"` or a `keras.Model`; default: `"mlp"`, the authors' two layers.
        hidden_dim: width inside the projector and the predictor; default: 4096.
        output_dim: width of queries and keys, unless `head` is a model; default: 256.
        momentum: m at the start; default: 0.99, the paper's for 300 epochs; 0.996 for 1000.
        momentum_steps: number of steps over which m rises to 1 by a cosine, usually all steps of
            the run; default: None, for a constant m.
        temperature: τ; default: 1.0.
        seed: of the views; default: 0.
    """

    recipes = {
        "published": Recipe(
            origin="facebookresearch/moco-v3 CONFIG.md, ResNet-50 for 1000 epochs",
            batch_size=4096,
            epochs=1000,
            optimizer="lars",
            learning_rate=0.3,
            weight_decay=1.5e-6,
            lars_convention="outside",
            warmup_epochs=10,
            zero_init_residual=True,
            options={"momentum": 0.996, "momentum_steps": AllSteps()},
        ),
        "small": small_recipe(
            options={
                "temperature": 0.2,
                "hidden_dim": 512,
                "output_dim": 128,
                "momentum": 0.99,
                "momentum_steps": AllSteps(),
            }
        ),
    }

    def __init__(
        self,
        encoder: keras.Model,
        *,
        views: Callable,
        head: str | keras.Model = "mlp",
        hidden_dim: int = 4096,
        output_dim: int = 256,
        momentum: float = 0.99,
        momentum_steps: int | None = None,
        temperature: float = 1.0,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(encoder, views=views, temperature=temperature, seed=seed, **kwargs)
        self.hidden_dim, self.output_dim = hidden_dim, output_dim
        dims: dict[str, Any] = {"layers": 2, "hidden_dim": hidden_dim}
        mlp = functools.partial(projection, last_norm="plain", output_dim=output_dim, **dims)
        self.head = self.build_head(head, {"mlp": mlp})
        width = self.head.output_shape[-1]
        self.predictor = projection(
            width, last_norm=None, output_dim=width, name="predictor", **dims
        )
        self.momentum_encoder = MomentumEncoder(
            self.encoder, self.head, momentum=momentum, steps=momentum_steps
        )

    def before_step(self) -> None:
        self.momentum_encoder.follow(self.step.value)

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        views, step = batch["views"], self.step.value
        # One view at a time, as the authors do: each has its own batch statistics.
        query0, query1 = (self._query(view, training) for view in views)
        key0, key1 = (self.momentum_encoder(view, step=step, training=training) for view in views)
        first = info_nce_in_batch(query0, key1, temperature=self.temperature)
        second = info_nce_in_batch(query1, key0, temperature=self.temperature)
        return 2.0 * self.temperature * (mean_over(first) + mean_over(second))

    def _query(self, view, training):
        features = self.head(self.encoder(view, training=training), training=training)
        return self.predictor(features, training=training)

    @classmethod
    def default_views(cls, image_size: int, channels: int = 3, **changes) -> RandomViews:
        return moco_v3_views(image_size, channels, **changes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "head": keras.saving.serialize_keras_object(self.head),
            "hidden_dim": self.hidden_dim,
            "output_dim": self.output_dim,
            "momentum": self.momentum_encoder.momentum,
            "momentum_steps": self.momentum_encoder.steps,
        }
