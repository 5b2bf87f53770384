"""A slow-moving copy of an encoder, which makes the keys."""

import math

import keras
import tensorflow as tf

from cl_keras import distribute
from cl_keras.encoders.batch_norm import statistics_per_call


@keras.saving.register_keras_serializable("cl_keras")
class MomentumEncoder(keras.layers.Layer):
    """A copy of an encoder and its head whose parameters are a moving average of theirs.

        θ_k ← m·θ_k + (1 - m)·θ_q

    (He et al. 2020, MoCo). Only parameters are averaged: the copy's batch normalization has its own
    statistics, and runs in training mode during training. No gradient reaches the copy.

    The keys of a batch can be encoded in several groups, shuffled in every step ("shuffled BN").
    Otherwise query and key share batch statistics, which reveal the key of each query, and nothing
    is learned. The groups are drawn from the images of all replicas, and each replica encodes the
    same number of them.

    NOTE: the moving statistics of the copy are updated once per step, with the mean over the
    groups, so that N replicas equal one. In the authors' code each device keeps those of its group.

    Args:
        encoder: the `keras.Model` to follow.
        head: the `keras.Model` on top of it.
        momentum: m at the start, in [0, 1]; default: 0.999.
        steps: number of steps over which m rises to 1 by a cosine; default: None, a constant m.
        groups: number of groups in which the keys of the global batch are encoded, a multiple of
            the number of replicas; or 1 for all keys together; default: 1.
        seed: of the shuffling; default: 0.

    Raises:
        ValueError: for a momentum outside [0, 1], or fewer than one group.
    """

    def __init__(
        self,
        encoder: keras.Model,
        head: keras.Model,
        *,
        momentum: float = 0.999,
        steps: int | None = None,
        groups: int = 1,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must lie in [0, 1]; received {momentum!r}.")
        if groups < 1:
            raise ValueError(f"groups must be at least 1; received {groups!r}.")
        self.momentum, self.steps, self.groups, self.seed = momentum, steps, groups, seed
        self.encoder, self.head = _copy(encoder), _copy(head)
        # Not `layer.trainable = False`: that would put batch normalization into inference mode.
        own = [v for model in (self.encoder, self.head) for v in model.trainable_variables]
        for variable in own:
            variable.trainable = False
        followed = [v for model in (encoder, head) for v in model.trainable_variables]
        # A function, since Keras would count variables in a list as this layer's own.
        self._pairs = lambda: zip(own, followed, strict=True)
        self.built = True

    def follow(self, step: int | tf.Tensor) -> None:
        """Moves the parameters towards those of the encoder and head; call once per step.

        Args:
            step: int tensor, the number of steps so far, which determines m if it rises.
        """
        momentum = tf.convert_to_tensor(self.momentum_at(step), tf.float64)
        for own, followed in self._pairs():
            m = tf.cast(momentum, own.dtype)
            own.assign(m * own.value + (1.0 - m) * followed.value)

    def momentum_at(self, step: int | tf.Tensor) -> float | tf.Tensor:
        """m after a number of steps: constant, or `1 - (1 - m)·(1 + cos(π·step/steps))/2`."""
        if self.steps is None:
            return self.momentum
        share = tf.minimum(tf.cast(step, tf.float64) / self.steps, 1.0)
        return 1.0 - (1.0 - self.momentum) * (1.0 + tf.cos(math.pi * share)) / 2.0

    def call(
        self, images: tf.Tensor, step: int | tf.Tensor = 0, training: bool = False
    ) -> tf.Tensor:
        """The keys of a batch of views, `[b, d]`, without gradient.

        Args:
            images: `[b, H, W, C]`.
            step: int tensor; another step shuffles the images differently; default: 0.
            training: whether to use batch statistics instead of moving ones; default: False.
        """
        if not training or self.groups == 1:
            return tf.stop_gradient(self._encode(images, training))
        rows = tf.shape(images)[0]
        replicas, first = distribute.num_replicas(), distribute.first_row(rows)
        order = self._order(rows * replicas, step)
        own = tf.gather(distribute.gather(images), order[first : first + rows])
        with statistics_per_call():
            groups = tf.split(own, self.groups // replicas)
            keys = tf.concat([self._encode(group, training) for group in groups], axis=0)
        keys = tf.gather(distribute.gather(keys), tf.math.invert_permutation(order))
        return tf.stop_gradient(keys[first : first + rows])

    def compute_output_spec(
        self, images: keras.KerasTensor, step: int | tf.Tensor = 0, training: bool = False
    ) -> keras.KerasTensor:
        return keras.KerasTensor([images.shape[0], self.head.output_shape[-1]], self.compute_dtype)

    def _encode(self, images, training):
        return self.head(self.encoder(images, training=training), training=training)

    def _order(self, rows, step):
        """A permutation of the rows of the global batch, the same on every replica."""
        key = [self.seed, tf.cast(step, tf.int64) * 65536]
        # `stateless_shuffle` has no kernel for XLA.
        drawn = tf.random.stateless_uniform(
            [rows], key, minval=None, maxval=None, dtype=tf.int32, alg="philox"
        )
        return tf.argsort(drawn, stable=True)


def _copy(model):
    copy = keras.models.clone_model(model)
    for variable, original in zip(copy.variables, model.variables, strict=True):
        variable.assign(original.value)  # works in a graph too, where nothing has a value yet
    return copy
