"""SupCon: all views of a class are positives of each other."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cl_keras import heads
from cl_keras.losses import positives_in_batch, softmax_over_positives
from cl_keras.negatives import in_batch
from cl_keras.training.contrastive_model import ContrastiveModel
from cl_keras.training.objective import Objective, mean_over
from cl_keras.training.recipe import Recipe, small_recipe
from cl_keras.views import moco_v2

HEADS = {"mlp": heads.mlp, "linear": heads.linear}


@keras.saving.register_keras_serializable("cl_keras")
class SupCon(ContrastiveModel):
    """Supervised Contrastive Learning (Khosla et al. 2020).

    SimCLR, with all other views of the same class in the global batch as the positives `P(i)` of
    view i. With all views but itself, `A(i)`, and `s_ij = cos(z_i, z_j)/τ`,

        L = mean_i  -1/|P(i)| Σ_{p ∈ P(i)} log( exp(s_ip) / Σ_{a ∈ A(i)} exp(s_ia) )

    The labels are any integers that several images share: a class, a product, a patient, a scene.
    The label -1 means unlabeled; the only positive of such a view is the other view of its image.
    Without any labels, this is SimCLR.

    NOTE: where few images have labels, give these to `fit` several times in an epoch. A labeled
    image that rarely meets another of its class in a batch learns nothing from its label.

    Args:
        encoder: a `keras.Model` from images to vectors; see `encoders.as_encoder`.
        views: a callable that makes two views of a batch of images, such as `views.simclr(96)`.
        head: `"mlp"` (two layers), `"linear"`, or a `keras.Model`; default: `"mlp"`.
        labels: key of the labels, int `[b]`, in the elements of the dataset; default: `"label"`.
        temperature: τ; default: 0.1.
        seed: of the views; default: 0.
    """

    recipes = {
        "published": Recipe(
            origin="HobbitLong/SupContrast main_supcon.py, README.md",
            batch_size=1024,
            epochs=1000,
            optimizer="sgd",
            learning_rate=0.5,
            rate_batch=1024,
            weight_decay=1e-4,
        ),
        "small": small_recipe(options={"temperature": 0.2}),
    }

    def __init__(
        self,
        encoder: keras.Model,
        *,
        views: Callable,
        head: str | keras.Model = "mlp",
        labels: str = "label",
        temperature: float = 0.1,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(encoder, views=views, temperature=temperature, seed=seed, **kwargs)
        self.head = self.build_head(head, HEADS)
        self.labels = labels

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        view0, view1 = self.encode_views(batch["views"], training)
        _, scores = in_batch(view0, view1)
        positives = positives_in_batch(batch[self.labels])
        return mean_over(softmax_over_positives(positives, scores, self.temperature))

    @classmethod
    def default_views(cls, image_size: int, channels: int = 3, **changes) -> Callable:
        return moco_v2(image_size, channels, **({"blur_probability": 0.0} | changes))

    def check_data(self, dataset: tf.data.Dataset) -> None:
        spec = dataset.element_spec
        if not isinstance(spec, dict) or self.labels not in spec:
            raise ValueError(
                f'SupCon needs a label for each image: elements of {{"image", "{self.labels}"}}, '
                f"-1 where an image has none; received {spec}. Give data.load(..., labels=), or "
                "images in class folders."
            )

    def get_config(self) -> dict[str, Any]:
        head = keras.saving.serialize_keras_object(self.head)
        return {**super().get_config(), "head": head, "labels": self.labels}
