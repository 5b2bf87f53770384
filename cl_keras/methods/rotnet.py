"""RotNet: predict by how much an image was rotated."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cl_keras import heads
from cl_keras.losses import softmax_over_candidates
from cl_keras.training.objective import Objective, mean_over
from cl_keras.training.pretext_model import PretextModel
from cl_keras.training.recipe import Recipe, small_recipe
from cl_keras.views import rotations

NUM_ROTATIONS = 4


@keras.saving.register_keras_serializable("cl_keras")
class RotNet(PretextModel):
    """Unsupervised Representation Learning by Predicting Image Rotations (Gidaris et al. 2018).

    Each image is rotated by 0, 90, 180 and 270 degrees, and a linear classifier on the encoder
    predicts which:

        L = mean over images and rotations r of  -log softmax(g(f(rot_r(x))))^(r)

    Chance is log 4, and an accuracy of a quarter. Whatever looks the same upside down, such as
    texture, is not learned.

    Args:
        encoder: a `keras.Model` from images to vectors; see `encoders.as_encoder`.
        views: a callable that rotates a batch of images and says by how much, such as
            `views.rotations(96)`.
        seed: of the views; default: 0.
    """

    accuracy_name = "accuracy"

    recipes = {
        "published": Recipe(
            origin="gidariss/FeatureLearningRotNet config/CIFAR10_RotNet_NIN4blocks.py",
            batch_size=128,
            epochs=200,
            optimizer="sgd",
            learning_rate=0.1,
            rate_batch=128,
            rate_power=0.0,
            weight_decay=5e-4,
            schedule="steps",  # NOTE: the authors divide by five at 60, 120 and 160 of 200 epochs
        ),
        "small": small_recipe(options={}),
    }

    def __init__(self, encoder: keras.Model, *, views: Callable, seed: int = 0, **kwargs):
        super().__init__(encoder, views=views, seed=seed, **kwargs)
        self.head = heads.linear(self.encoder.output_shape[-1], output_dim=NUM_ROTATIONS)

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        images, rotation = batch["views"]
        flat = tf.reshape(images, [-1, *images.shape[2:]])
        logits = self.head(self.encoder(flat, training=training), training=training)
        return mean_over(softmax_over_candidates(tf.reshape(rotation, [-1]), logits, 1.0))

    @classmethod
    def default_views(cls, image_size: int, channels: int = 3, **changes) -> Callable:
        return rotations(image_size, channels, **changes)
