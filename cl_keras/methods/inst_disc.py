"""InstDisc: every image is its own class, with a row in a memory bank."""

from collections.abc import Callable

import keras
import tensorflow as tf

from cl_keras.training.bank_model import BankModel
from cl_keras.training.recipe import Recipe, ShareOfImages, small_recipe
from cl_keras.views import RandomViews
from cl_keras.views import inst_disc as inst_disc_views


@keras.saving.register_keras_serializable("cl_keras")
class InstDisc(BankModel):
    """Unsupervised Feature Learning via Non-Parametric Instance Discrimination (Wu et al. 2018).

    One view of image i is embedded as a unit vector, `v = g(f(x̃))`, and compared with the memory
    bank, whose row i is an average of earlier embeddings of image i:

        P(i|v) = exp(v·f_i/τ) / Σ_j exp(v·f_j/τ)

    The loss is `-log P(i|v)` over the whole bank (`loss="softmax"`, for small data sets); or its
    estimate from K images drawn for each query (`loss="nce"`, see `losses.noise_contrastive`); or
    the same softmax over the image's own row and K drawn rows (`loss="info_nce"`), which Misra &
    van der Maaten 2020 (PIRL) found better, with a head of two layers.
    After the step, `f_i ← normalize(m·f_i + (1 - m)·v)`.

    Every image needs its index, its row in the data set; arrays and `data.load` provide it. The
    bank only knows the images it was trained on, so `evaluate` is only meaningful for those.

    Args:
        encoder: a `keras.Model` from images to vectors; see `encoders.as_encoder`.
        views: a callable that makes views of a batch of images, of which the first is used;
            `views.inst_disc(96)` makes only one and is the cheapest.
        num_images: N, the number of images in the data set.
        num_negatives: K, drawn with replacement; unused by `"softmax"`; default: 4096.
        loss: `"nce"`, `"info_nce"` or `"softmax"`; default: `"nce"`. For CIFAR the authors use
            `"softmax"` and τ 0.1.
        temperature: τ; default: 0.07.
        bank_momentum: m, in [0, 1); default: 0.5.
        head: `"linear"`, `"mlp"` (two layers), or a `keras.Model` from the representation to the
            embedding, whose width becomes d, the width of the bank; default: `"linear"`.
        output_dim: d, for a head given by name; default: 128.
        seed: of the views, the initial bank, and the images drawn; default: 0.

    Raises:
        ValueError: for an unknown loss, or a value out of range.
    """

    recipes = {
        "published": Recipe(
            origin="Wu et al. 2018; zhirongw/lemniscate.pytorch main.py",
            batch_size=256,
            epochs=200,
            optimizer="sgd",
            learning_rate=0.03,
            weight_decay=1e-4,
            schedule="steps",
            options={"num_negatives": ShareOfImages(0.5, most=4096)},
        ),
        "cifar": Recipe(
            origin="Wu et al. 2018; zhirongw/lemniscate.pytorch cifar.py",
            batch_size=128,
            epochs=200,
            optimizer="sgd",
            learning_rate=0.03,
            weight_decay=5e-4,
            rate_batch=128,
            schedule="steps",
            encoder="resnet18",
            options={"loss": "softmax", "temperature": 0.1},
            views={"flip": 0.0},
        ),
        "small": small_recipe(epochs=20, options={"loss": "softmax", "temperature": 0.1}),
    }

    def __init__(
        self,
        encoder: keras.Model,
        *,
        views: Callable,
        num_images: int,
        num_negatives: int = 4096,
        loss: str = "nce",
        temperature: float = 0.07,
        bank_momentum: float = 0.5,
        head: str | keras.Model = "linear",
        output_dim: int = 128,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(
            encoder,
            views=views,
            num_images=num_images,
            num_negatives=num_negatives,
            loss=loss,
            temperature=temperature,
            bank_momentum=bank_momentum,
            head=head,
            output_dim=output_dim,
            seed=seed,
            **kwargs,
        )

    def queries(self, views: tuple, training: bool) -> list[tf.Tensor]:
        return [self.head(self.encoder(views[0], training=training), training=training)]

    @classmethod
    def default_views(cls, image_size: int, channels: int = 3, **changes) -> RandomViews:
        return inst_disc_views(image_size, channels, **changes)
