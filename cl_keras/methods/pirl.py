"""PIRL: an image and its jigsaw are one, in a memory bank."""

import keras
import tensorflow as tf

from cl_keras import heads
from cl_keras.heads.patches import patch_head
from cl_keras.training.bank_model import BankModel
from cl_keras.training.recipe import Recipe, ShareOfImages, small_recipe
from cl_keras.views import PIRLViews
from cl_keras.views import pirl as pirl_views


@keras.saving.register_keras_serializable("cl_keras")
class PIRL(BankModel):
    """Self-Supervised Learning of Pretext-Invariant Representations (Misra & van der Maaten 2020).

    Image I, seen as a whole, `f(v_I)`, and as a heap of its patches, `g(v_It)`, shall both be close
    to its row `m_I` of the memory bank, and far from the rows of other images:

        L = λ · L_NCE(m_I, g(v_It)) + (1 - λ) · L_NCE(m_I, f(v_I))

    `L_NCE` is that of `losses.noise_contrastive` (`loss="nce"`), or a softmax over the whole bank
    (`loss="softmax"`, for small data sets). After the step the image alone moves the bank,
    `m_I ← normalize(m·m_I + (1 - m)·f(v_I))`.

    The encoder sees the images and the patches as two batches, since their sizes differ.

    NOTE: the two terms share the images drawn as noise, where the authors' code draws twice: half
    the rows are read.

    Each image must come with its index, its place in the data set; arrays and `data.load` have it.
    The bank knows the images that it was trained on, so `evaluate` means something for these alone.

    Args:
        encoder: a `keras.Model` from images to vectors, of images and of patches, so of any size.
        views: what makes a view and the patches of a batch of images, such as `views.pirl(96)`.
        num_images: N, images in the data set.
        num_negatives: K, drawn for each image with replacement; for `"nce"` alone.
        loss: `"nce"` or `"softmax"`.
        patch_weight: λ, in [0, 1].
        temperature: τ.
        bank_momentum: m, in [0, 1).
        num_patches: patches of an image.
        output_dim: d, width of the heads and of the bank.
        seed: of the views, the bank at the start, and the images drawn.

    Raises:
        ValueError: for a loss of another name, a value out of range, or an encoder of another size.
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
        "small": small_recipe(epochs=20, options={"loss": "softmax", "temperature": 0.1}),
    }

    def __init__(
        self,
        encoder,
        *,
        views,
        num_images,
        num_negatives=32_000,
        loss="nce",
        patch_weight=0.5,
        temperature=0.07,
        bank_momentum=0.5,
        num_patches=9,
        output_dim=128,
        seed=0,
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
        width = self.encoder.output_shape[-1]
        self.head = heads.linear(width, output_dim=output_dim)
        self.patch_head = patch_head(width, num_patches=num_patches, output_dim=output_dim)
        self.patch_weight, self.num_patches = float(patch_weight), num_patches
        self.query_weights = (self.patch_weight, 1.0 - self.patch_weight)

    def queries(self, views, training):
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
        # NOTE: patches leave no trace in the moving statistics of batch normalisation; the encoder
        # that is kept sees images, and a mixture of the two would fit neither.
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

    def get_config(self):
        return {
            **super().get_config(),
            "patch_weight": self.patch_weight,
            "num_patches": self.num_patches,
        }
