"""MoCo: negatives from a queue that a momentum encoder fills."""

import keras
import tensorflow as tf

from cl_keras import heads
from cl_keras.methods import checks
from cl_keras.methods.contrastive_model import ContrastiveModel
from cl_keras.negatives import KeyQueue, MomentumEncoder
from cl_keras.similarity import cosine

HEADS = {"v1": heads.linear, "v2": heads.mlp}
TEMPERATURES = {"v1": 0.07, "v2": 0.2}


@keras.saving.register_keras_serializable("cl_keras")
class MoCo(ContrastiveModel):
    """Momentum Contrast for Unsupervised Visual Representation Learning (He et al. 2020).

    One view is the query `q = g(f(x̃_1))`, the other the key `k+ = g_m(f_m(x̃_2))` of an encoder
    whose parameters follow those of `f` and `g` slowly; the negatives `k_i` are the K keys of the
    batches before:

        L(q) = -log( exp(cos(q, k+)/τ) / (exp(cos(q, k+)/τ) + Σ_i exp(cos(q, k_i)/τ)) )

    The order is the authors' own: the momentum encoder moves, keys are made, scores against the
    queue, and only then the keys enter it. Version 2 ("Improved Baselines", Chen et al. 2020) has a
    head of two layers, τ 0.2, and SimCLR's views.

    Args:
        encoder: a `keras.Model` from images to vectors; see `encoders.as_encoder`.
        views: what makes two views of a batch of images.
        head: `"v1"` (linear), `"v2"` (two layers), or a `keras.Model`.
        queue_size: K. It must not exceed the number of images, since an image would then meet its
            own old key as a negative.
        momentum: m of the momentum encoder.
        key_parts: number of parts in which the keys of a batch pass batch normalisation, a multiple
            of the number of replicas; see `MomentumEncoder`. 1 leaks.
        temperature: τ; default: that of the head's version, 0.07 or 0.2.
        seed: of the views, the queue at the start, and the shuffling of keys.
    """

    def __init__(
        self,
        encoder,
        *,
        views,
        head="v2",
        queue_size=65_536,
        momentum=0.999,
        key_parts=4,
        temperature=None,
        seed=0,
        **kwargs,
    ):
        if temperature is None:
            temperature = TEMPERATURES.get(head, 0.2) if isinstance(head, str) else 0.2
        super().__init__(encoder, views=views, temperature=temperature, seed=seed, **kwargs)
        self.head = self.build_head(head, HEADS)
        self.momentum_encoder = MomentumEncoder(
            self.encoder, self.head, momentum=momentum, parts=key_parts, seed=seed
        )
        self.queue = KeyQueue(queue_size, self.head.output_shape[-1], seed=seed)

    def prepare(self):
        self.momentum_encoder.follow(self.step.value)

    def contrast(self, views, index, training):
        step = self.step.value
        query = self.head(self.encoder(views[0], training=training), training=training)
        key = self.momentum_encoder(views[1], step=step, training=training)
        positive = cosine(query[:, None, :], key[:, None, :])[:, 0]
        scores = tf.concat([positive, self.queue.scores(query)], axis=1)
        return tf.zeros_like(scores[:, 0], tf.int32), scores, key

    def advance(self, remembered):
        self.queue.push(remembered)

    def check_data(self, dataset):
        checks.check_queue(dataset, self.queue.size)
        replicas = self.distribute_strategy.num_replicas_in_sync
        parts = self.momentum_encoder.parts
        checks.check_parts(dataset, parts, replicas, self.gradient_accumulation)

    def get_config(self):
        return {
            **super().get_config(),
            "head": keras.saving.serialize_keras_object(self.head),
            "queue_size": self.queue.size,
            "momentum": self.momentum_encoder.momentum,
            "key_parts": self.momentum_encoder.parts,
        }
