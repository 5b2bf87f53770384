"""PCL: MoCo, plus contrast with the prototypes of clusters of several sizes."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cl_keras import heads
from cl_keras.clustering import PrototypeClusters, Recluster
from cl_keras.data import Batches
from cl_keras.losses import info_nce, softmax_over_candidates
from cl_keras.negatives import KeyQueue, MomentumEncoder
from cl_keras.similarity import cosine, normalize
from cl_keras.training import checks
from cl_keras.training.contrastive_model import ContrastiveModel
from cl_keras.training.objective import Objective, mean_over
from cl_keras.training.recipe import (
    MOCO_V1_VIEWS,
    Each,
    Recipe,
    ShareOfEpochs,
    ShareOfImages,
    small_recipe,
)
from cl_keras.views import RandomViews
from cl_keras.views import moco_v2 as moco_v2_views

HEADS = {"v1": heads.linear, "v2": heads.mlp}


PUBLISHED_OPTIONS = {
    # The authors have 25,000, 50,000 and 100,000 clusters for 1.28 million images.
    "num_clusters": Each(
        (
            ShareOfImages(1 / 51.2, most=25_000),
            ShareOfImages(1 / 25.6, most=50_000),
            ShareOfImages(1 / 12.8, most=100_000),
        )
    ),
    "warmup_epochs": ShareOfEpochs(0.1, most=20),
    "queue_size": ShareOfImages(0.5, most=16_384, whole_batches=True),
}


@keras.saving.register_keras_serializable("cl_keras")
class PCL(ContrastiveModel):
    """Prototypical Contrastive Learning of Unsupervised Representations (Li et al. 2021).

    Adds ProtoNCE to MoCo's InfoNCE against a queue: a query must find the prototype of its own
    cluster, at M granularities. With the centroid `c_s` of the image's cluster and the
    concentration `φ` of each cluster,

        L = InfoNCE + 1/M Σ_m -log( exp(v·c_s/φ_s) / Σ_j exp(v·c_j/φ_j) )

    Before each epoch after the warm-up, the momentum encoder embeds all images, without random
    views, and spherical k-means computes new clusters. As in the authors' code, salesforce/PCL
    `pcl/builder.py` and `main_pcl.py`.

    NOTE: with more than `num_negative_prototypes` clusters, negatives are drawn for the whole batch
    with replacement, where the authors draw without; a query's own prototype is left out.

    The images need their `index`, which arrays and `data.load` provide.

    Args:
        encoder: a `keras.Model` from images to vectors; see `encoders.as_encoder`.
        views: a callable that makes two views of a batch of images.
        num_images: N, the number of images in the data set.
        head: `"v1"` (linear), `"v2"` (two layers), or a `keras.Model`; default: `"v2"`.
        num_clusters: K of each granularity; default: the paper's 25,000, 50,000 and 100,000, for
            1.28 million images. Take about a fiftieth, a twenty-fifth and a twelfth of N.
        num_negative_prototypes: r, the maximum number of prototypes that a query is compared with
            at one granularity; default: 16,384.
        warmup_epochs: number of epochs with InfoNCE alone; default: 20.
        queue_size: number of keys in the queue; default: 16,384.
        momentum: m of the momentum encoder; default: 0.999.
        shuffle_bn_groups: see `MoCo`; default: 4.
        temperature: τ of InfoNCE, and the mean of the concentrations; default: 0.2.
        seed: of the views, the queue, the shuffling and the clusterings; default: 0.

    Raises:
        ValueError: for fewer images than clusters.
    """

    recipes = {
        "published": Recipe(
            origin="salesforce/PCL README.md, main_pcl.py, v2",
            batch_size=256,
            epochs=200,
            optimizer="sgd",
            learning_rate=0.03,
            weight_decay=1e-4,
            options=PUBLISHED_OPTIONS,
        ),
        "v1": Recipe(
            origin="salesforce/PCL README.md, main_pcl.py, v1",
            batch_size=256,
            epochs=200,
            optimizer="sgd",
            learning_rate=0.03,
            weight_decay=1e-4,
            schedule="steps",
            options={**PUBLISHED_OPTIONS, "head": "v1"},
            views=MOCO_V1_VIEWS,
        ),
        "small": small_recipe(
            options={
                "num_clusters": Each(
                    (
                        ShareOfImages(0.02, least=8, most=1000),
                        ShareOfImages(0.04, least=16, most=2000),
                        ShareOfImages(0.08, least=32, most=4000),
                    )
                ),
                "warmup_epochs": ShareOfEpochs(0.2, least=3, most=20),
                "queue_size": ShareOfImages(0.4, most=16_384, whole_batches=True),
                "momentum": 0.99,
            }
        ),
    }

    num_images: int

    def __init__(
        self,
        encoder: keras.Model,
        *,
        views: Callable,
        num_images: int,
        head: str | keras.Model = "v2",
        num_clusters: tuple[int, ...] = (25_000, 50_000, 100_000),
        num_negative_prototypes: int = 16_384,
        warmup_epochs: int = 20,
        queue_size: int = 16_384,
        momentum: float = 0.999,
        shuffle_bn_groups: int = 4,
        temperature: float = 0.2,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(encoder, views=views, temperature=temperature, seed=seed, **kwargs)
        self.num_images, self.warmup_epochs = num_images, warmup_epochs
        self.num_negative_prototypes = num_negative_prototypes
        self.head = self.build_head(head, HEADS)
        dim = self.head.output_shape[-1]
        self.momentum_encoder = MomentumEncoder(
            self.encoder, self.head, momentum=momentum, groups=shuffle_bn_groups, seed=seed
        )
        self.queue = KeyQueue(queue_size, dim, seed=seed)
        self.clusters = [PrototypeClusters(num_images, dim, count) for count in num_clusters]

    def before_step(self) -> None:
        self.momentum_encoder.follow(self.step.value)

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        view0, view1 = batch["views"]
        query = self.head(self.encoder(view0, training=training), training=training)
        key = self.momentum_encoder(view1, step=self.step.value, training=training)
        to_queue = mean_over(info_nce(query, key, self.queue, temperature=self.temperature))
        to_prototypes = [
            self._proto_nce(clusters, query, batch.get("index"), training)
            for clusters in self.clusters
        ]
        weight = 1.0 / len(to_prototypes)
        return sum((weight * each for each in to_prototypes), start=to_queue).keep(key)

    def _proto_nce(self, clusters, query, index, training):
        """ProtoNCE at one granularity; 0 before the first clustering."""
        scores = cosine(query, clusters.centroids.value)
        scores = scores / tf.cast(clusters.concentrations.value, scores.dtype)
        if training:
            own = tf.gather(clusters.assignments.value, index)
        else:  # an image that was not clustered belongs to the nearest prototype
            own = tf.argmax(tf.stop_gradient(scores), axis=1, output_type=tf.int32)
        if clusters.num_clusters <= self.num_negative_prototypes:
            return mean_over(softmax_over_candidates(own, scores, 1.0))
        key = [self.seed, tf.cast(self.step.value, tf.int64)]
        drawn = tf.random.stateless_uniform(
            [self.num_negative_prototypes], key, 0, clusters.num_clusters, tf.int32, alg="philox"
        )
        to_own = tf.gather(scores, tf.maximum(own, 0), axis=1, batch_dims=1)[:, None]
        others = tf.gather(scores, drawn, axis=1)
        others = tf.where(drawn == own[:, None], scores.dtype.as_numpy_dtype("-inf"), others)
        scores = tf.concat([to_own, others], axis=1)
        return mean_over(softmax_over_candidates(tf.minimum(own, 0), scores, 1.0))

    def after_step(self, kept: Any) -> None:
        self.queue.push(kept)

    def recluster(self, batches: tf.data.Dataset, epoch: int) -> None:
        """Clusters the momentum encoder's embeddings of all images, after the warm-up."""
        if epoch < self.warmup_epochs:
            return
        if isinstance(batches, Batches):  # all images, including those of a remainder
            batches = batches.in_order()
        encode = tf.function(lambda x: normalize(self.momentum_encoder(x)), autograph=False)
        found: dict[int, np.ndarray] = {}
        for element in batches:
            vectors = encode(element["image"]).numpy()
            found.update(zip(element["index"].numpy().tolist(), vectors, strict=True))
        index = np.array(sorted(found))
        vectors = np.stack([found[image] for image in index])
        for number, clusters in enumerate(self.clusters):
            clusters.cluster(
                vectors, index, temperature=self.temperature, seed=[self.seed, epoch, number]
            )

    def method_callbacks(self, batches: tf.data.Dataset) -> list[keras.callbacks.Callback]:
        return [Recluster(batches)]

    def check_data(self, dataset: tf.data.Dataset) -> None:
        checks.check_index(self, dataset, self.num_images)
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
            "num_images": self.num_images,
            "head": keras.saving.serialize_keras_object(self.head),
            "num_clusters": [clusters.num_clusters for clusters in self.clusters],
            "num_negative_prototypes": self.num_negative_prototypes,
            "warmup_epochs": self.warmup_epochs,
            "queue_size": self.queue.size,
            "momentum": self.momentum_encoder.momentum,
            "shuffle_bn_groups": self.momentum_encoder.groups,
        }
