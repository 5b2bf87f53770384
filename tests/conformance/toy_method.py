"""A user's own method, as the documentation promises: one file, without negatives."""

import keras
import tensorflow as tf

from cl_keras import distribute, heads
from cl_keras.training import Objective, PretextModel


@keras.saving.register_keras_serializable("tests")
class ToyMethod(PretextModel):
    """Two views are near each other, and the coordinates of all views keep a spread of 1.

        L = mean_b ‖z_1 - z_2‖² + w · mean_j max(0, 1 - std_j)

    with std_j over both views of the global batch, about a center that follows slowly.
    """

    def __init__(self, encoder, *, views, spread_weight=1.0, seed=0, **kwargs):
        super().__init__(encoder, views=views, seed=seed, **kwargs)
        self.spread_weight = spread_weight
        self.head = heads.linear(self.encoder.output_shape[-1], output_dim=4)
        self.center = self.add_weight(
            name="center",
            shape=[4],
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",
        )

    def objective(self, batch, training):
        z0, z1 = (
            tf.cast(z, self.center.dtype) for z in self.encode_views(batch["views"], training)
        )
        near = Objective(tf.reduce_mean(tf.reduce_sum(tf.square(z0 - z1), axis=1)))
        everyone = distribute.gather(tf.concat([z0, z1], axis=1))
        offsets = tf.reshape(everyone, [-1, 4]) - self.center.value
        std = tf.sqrt(tf.reduce_mean(tf.square(offsets), axis=0) + 1e-4)
        spread = Objective(tf.reduce_mean(tf.nn.relu(1.0 - std)))
        return (near + self.spread_weight * spread).keep(z0)

    def after_step(self, kept):
        mean = tf.reduce_mean(distribute.gather(kept), axis=0)
        self.center.assign(0.9 * self.center.value + 0.1 * mean)

    def get_config(self):
        return {**super().get_config(), "spread_weight": self.spread_weight}
