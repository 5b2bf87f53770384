"""PIRL: an image and its jigsaw share a row of a memory bank."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cl_keras.heads.patches import patch_head
from cl_keras.training.bank_model import BankModel
from cl_keras.training.recipe import Recipe, ShareOfImages, small_recipe
from cl_keras.views import PIRLViews
from cl_keras.views import pirl as pirl_views


@keras.saving.register_keras_serializable("cl_keras")
class PIRL(BankModel):
    """Self-Supervised Learning of Pretext-Invariant Representations (Misra & van der Maaten 2020).

    Image I, seen as a whole, `f(v_I)`, and as a set of shuffled patches, `g(v_It)`, must both be
    close to its row `m_I` of the memory bank, and far from the rows of other images:

        L = λ · L_NCE(m_I, g(v_It)) + (1 - λ) · L_NCE(m_I, f(v_I))

    `L_NCE` is that of `losses.noise_contrastive` (`loss="nce"`), a softmax over the image's own row
    and K drawn rows (`loss="info_nce"`), or a softmax over the whole bank (`loss="softmax"`, for
    small data sets). After the step, only the whole image updates the bank,
    `m_I ← normalize(m·m_I + (1 - m)·f(v_I))`.

    The encoder sees the images and the patches as two batches, since their sizes differ.

    NOTE: the two terms share the images drawn as noise, which halves the rows to read; the authors'
    code draws separately for each.

    Every image needs its index, its row in the data set; arrays and `data.load` provide it. The
    bank only knows the images it was trained on, so `evaluate` is only meaningful for those.

    Args:
        encoder: a `keras.Model` from images of any size to vectors, since it sees patches too.
        views: a callable that makes a view and the patches of a batch of images, such as
            `views.pirl(96)`.
        num_images: N, the number of images in the data set.
        num_negatives: K, drawn with replacement; unused by `"softmax"`; default: 32,000.
        loss: `"nce"`, `"info_nce"` or `"softmax"`; default: `"nce"`.
        patch_weight: λ, in [0, 1]; default: 0.5.
        temperature: τ; default: 0.07.
        bank_momentum: m, in [0, 1); default: 0.5.
        num_patches: number of patches of an image; default: 9.
        head: `"linear"`; `"mlp"`, two layers for images and for each patch; or a `keras.Model` from
            the representation to the embedding, whose width becomes d, the width of the bank;
            default: `"linear"`.
        patch_head: a `keras.Model` from `[num_patches, representation]` to the embedding; default:
            the one that matches a head given by name, or else the linear one.
        output_dim: d, for a head given by name; default: 128.
        seed: of the views, the initial bank, and the images drawn; default: 0.

    Raises:
        ValueError: for an unknown loss, a value out of range, or an encoder for one size only.
    """

    recipes = {
        "published": Recipe(
            origin="Misra & van der Maaten 2020; vissl pirl_jigsaw_4node_resnet50.yaml",
            batch_size=1024,
            epochs=800,
            optimizer="sgd",
            learning_rate=0.12,
            weight_decay=1e-4,
            rate_batch=1024,
            options={"num_negatives": ShareOfImages(0.5, most=32_000)},
        ),
        "mlp": Recipe(
            origin="Misra & van der Maaten 2020; vissl pirl/models/resnet50_mlphead.yaml",
            batch_size=1024,
            epochs=800,
            optimizer="sgd",
            learning_rate=0.12,
            weight_decay=1e-4,
            rate_batch=1024,
            options={
                "loss": "info_nce",
                "head": "mlp",
                "temperature": 0.1,
                "num_negatives": ShareOfImages(0.5, most=32_000),
            },
        ),
        "small": small_recipe(epochs=20, options={"loss": "softmax", "temperature": 0.1}),
    }

    def __init__(
        self,
        encoder: keras.Model,
        *,
        views: Callable,
        num_images: int,
        num_negatives: int = 32_000,
        loss: str = "nce",
        patch_weight: float = 0.5,
        temperature: float = 0.07,
        bank_momentum: float = 0.5,
        head: str | keras.Model = "linear",
        num_patches: int = 9,
        patch_head: keras.Model | None = None,
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
        if not 0 <= patch_weight <= 1:
            raise ValueError(f"patch_weight must lie in [0, 1]; received {patch_weight!r}.")
        if None not in self.encoder.input_shape[1:3]:
            raise ValueError(
                "PIRL shows the encoder images and patches, so it must take any size; "
                f"{self.encoder.name!r} takes {self.encoder.input_shape[1:3]} pixels. Build it on "
                "keras.Input([None, None, channels])."
            )
        self.patch_head = self._build_patch_head(patch_head, head == "mlp", num_patches)
        self.patch_weight, self.num_patches = float(patch_weight), num_patches
        self.query_weights = (self.patch_weight, 1.0 - self.patch_weight)

    def _build_patch_head(self, given, mlp, num_patches):
        width, dim = self.encoder.output_shape[-1], self.bank.dim
        if given is None:
            hidden = width if mlp else None
            return patch_head(width, num_patches=num_patches, hidden_dim=hidden, output_dim=dim)
        shapes = given.input_shape[1:], given.output_shape[1:]
        if shapes != ((num_patches, width), (dim,)):
            raise ValueError(
                f"patch_head must map {(num_patches, width)} to {(dim,)}, that is, {num_patches} "
                f"patches with the {width} features of the encoder to the width of the head; "
                f"received one that maps {shapes[0]} to {shapes[1]}."
            )
        return given

    def queries(self, views: tuple, training: bool) -> list[tf.Tensor]:
        images, patches = views
        whole = self.head(self.encoder(images, training=training), training=training)
        return [self._embed_patches(patches, training), whole]

    def _embed_patches(self, patches, training):
        """`g(v_It)`, `[b, d]`, of patches `[b, num_patches, p, p, C]`."""
        if patches.shape[1] != self.num_patches:
            raise ValueError(
                f"PIRL was made for {self.num_patches} patches; the views give "
                f"{patches.shape[1]}. Give num_patches={patches.shape[1]}."
            )
        flat = tf.reshape(patches, [-1, *patches.shape[2:]])
        # NOTE: patches do not change the moving statistics of batch normalization; the trained
        # encoder is used on images, and a mixture of the two would fit neither.
        moving = self.encoder.non_trainable_variables
        before = [tf.identity(variable.value) for variable in moving]
        each = self.encoder(flat, training=training)
        for variable, value in zip(moving, before, strict=True):
            variable.assign(value)
        each = tf.reshape(each, [-1, self.num_patches, each.shape[-1]])
        return self.patch_head(each, training=training)

    @classmethod
    def default_views(cls, image_size: int, channels: int = 3, **changes) -> PIRLViews:
        return pirl_views(image_size, channels, **changes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "patch_head": keras.saving.serialize_keras_object(self.patch_head),
            "patch_weight": self.patch_weight,
            "num_patches": self.num_patches,
        }
