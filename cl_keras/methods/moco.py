"""MoCo: negatives from a queue that a momentum encoder fills."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cl_keras import heads
from cl_keras.losses import info_nce
from cl_keras.negatives import KeyQueue, MomentumEncoder
from cl_keras.training import checks
from cl_keras.training.contrastive_model import ContrastiveModel
from cl_keras.training.objective import Objective, mean_over
from cl_keras.training.recipe import MOCO_V1_VIEWS, Recipe, ShareOfImages, small_recipe
from cl_keras.views import RandomViews
from cl_keras.views import moco_v2 as moco_v2_views

HEADS = {"v1": heads.linear, "v2": heads.mlp}
TEMPERATURES = {"v1": 0.07, "v2": 0.2}


@keras.saving.register_keras_serializable("cl_keras")
class MoCo(ContrastiveModel):
    """Momentum Contrast for Unsupervised Visual Representation Learning (He et al. 2020).

    One view gives the query `q = g(f(x̃_1))`, the other the key `k+ = g_m(f_m(x̃_2))`, from an
    encoder whose parameters slowly follow those of `f` and `g`; the negatives `k_i` are the K keys
    of earlier batches:

        L(q) = -log( exp(cos(q, k+)/τ) / (exp(cos(q, k+)/τ) + Σ_i exp(cos(q, k_i)/τ)) )

    The order is the authors': the momentum encoder is updated, the keys are made, the queries are
    scored against the queue, and only then do the keys enter it. Version 2 ("Improved Baselines",
    Chen et al. 2020) has a head of two layers, τ 0.2, milder jitter, and blur.

    Args:
        encoder: a `keras.Model` from images to vectors; see `encoders.as_encoder`.
        views: a callable that makes two views of a batch of images.
        head: `"v1"` (linear), `"v2"` (two layers), or a `keras.Model`; default: `"v2"`.
        queue_size: K, at most the number of images, since an image would otherwise meet its own old
            key as a negative; default: 65,536.
        momentum: m of the momentum encoder; default: 0.999.
        shuffle_bn_groups: number of groups in which the keys of a batch are normalized, a multiple
            of the number of replicas; see `MomentumEncoder`. 1 leaks; default: 4.
        temperature: τ; default: that of the head's version, 0.07 or 0.2.
        seed: of the views, the initial queue, and the shuffling of keys; default: 0.
    """

    recipes = {
        "published": Recipe(
            origin="facebookresearch/moco README.md, v2; Chen et al. 2020",
            batch_size=256,
            epochs=200,
            optimizer="sgd",
            learning_rate=0.03,
            weight_decay=1e-4,
            options={"queue_size": ShareOfImages(0.5, most=65_536, whole_batches=True)},
        ),
        "v1": Recipe(
            origin="facebookresearch/moco README.md, v1; He et al. 2020",
            batch_size=256,
            epochs=200,
            optimizer="sgd",
            learning_rate=0.03,
            weight_decay=1e-4,
            schedule="steps",
            options={
                "head": "v1",
                "queue_size": ShareOfImages(0.5, most=65_536, whole_batches=True),
            },
            views=MOCO_V1_VIEWS,
        ),
        "small": small_recipe(
            options={
                "queue_size": ShareOfImages(0.4, most=16_384, whole_batches=True),
                "momentum": 0.99,
            }
        ),
    }

    def __init__(
        self,
        encoder: keras.Model,
        *,
        views: Callable,
        head: str | keras.Model = "v2",
        queue_size: int = 65_536,
        momentum: float = 0.999,
        shuffle_bn_groups: int = 4,
        temperature: float | None = None,
        seed: int = 0,
        **kwargs,
    ):
        if temperature is None:
            temperature = TEMPERATURES.get(head, 0.2) if isinstance(head, str) else 0.2
        super().__init__(encoder, views=views, temperature=temperature, seed=seed, **kwargs)
        self.head = self.build_head(head, HEADS)
        self.momentum_encoder = MomentumEncoder(
            self.encoder, self.head, momentum=momentum, groups=shuffle_bn_groups, seed=seed
        )
        self.queue = KeyQueue(queue_size, self.head.output_shape[-1], seed=seed)

    def before_step(self) -> None:
        self.momentum_encoder.follow(self.step.value)

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        view0, view1 = batch["views"]
        query = self.head(self.encoder(view0, training=training), training=training)
        key = self.momentum_encoder(view1, step=self.step.value, training=training)
        found = info_nce(query, key, self.queue, temperature=self.temperature)
        return mean_over(found).keep(key)

    def after_step(self, kept: Any) -> None:
        self.queue.push(kept)

    def check_data(self, dataset: tf.data.Dataset) -> None:
        checks.check_queue(dataset, self.queue.size)
        replicas = self.distribute_strategy.num_replicas_in_sync
        groups = self.momentum_encoder.groups
        checks.check_shuffle_bn_groups(dataset, groups, replicas, self.gradient_accumulation)

    @classmethod
    def default_views(cls, image_size: int, channels: int = 3, **changes) -> RandomViews:
        return moco_v2_views(image_size, channels, **changes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "head": keras.saving.serialize_keras_object(self.head),
            "queue_size": self.queue.size,
            "momentum": self.momentum_encoder.momentum,
            "shuffle_bn_groups": self.momentum_encoder.groups,
        }
