"""DeepCluster-v2: each view of an image must predict the cluster of the image."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from cl_keras import heads
from cl_keras.clustering import ClusterMemory, Recluster
from cl_keras.losses import softmax_over_candidates
from cl_keras.similarity import cosine
from cl_keras.training import checks
from cl_keras.training.contrastive_model import ContrastiveModel
from cl_keras.training.objective import Objective, mean_over
from cl_keras.training.recipe import Recipe, ShareOfImages, small_recipe
from cl_keras.views import RandomViews
from cl_keras.views import swav as swav_views

HEADS = {"mlp": heads.swav, "linear": heads.linear}

STORED_VIEWS = 2
"""Number of views whose embeddings are stored: the first ones, the large ones of multi-crop."""


@keras.saving.register_keras_serializable("cl_keras")
class DeepCluster(ContrastiveModel):
    """DeepCluster-v2 (Caron et al. 2020, SwAV, appendix C; after Caron et al. 2018).

    Before each epoch, the embeddings stored during the previous one are clustered by spherical
    k-means, several times over. Each view of image i, projected to a unit vector `z`, must predict
    the cluster `y_h(i)` of its image among the centroids `C_h` of each clustering h:

        L = mean over h and views of  -log softmax(z·C_hᵀ / τ)^(y_h(i))

    Centroids and assignments get no gradient. As in the authors' code, facebookresearch/swav
    `main_deepclusterv2.py`. Before the first epoch, one pass over the images without training
    stores their embeddings. An image without a stored embedding, because it was in a remainder that
    was dropped, has no cluster and does not count in the loss.

    The images need their `index`, which arrays and `data.load` provide. Held-out images have no
    cluster; for them, `evaluate` uses the one nearest to their first view.

    Args:
        encoder: a `keras.Model` from images of every size in `views` to vectors.
        views: a callable that makes at least two views of a batch of images, such as
            `views.swav(96)`.
        num_images: N, the number of images in the data set.
        head: `"mlp"` (two layers), `"linear"`, or a `keras.Model`; default: `"mlp"`.
        num_clusters: K of each clustering; default: 3000.
        num_clusterings: number of clusterings, with different initial centroids; default: 3.
        iterations: of k-means; default: 10.
        temperature: τ; default: 0.1.
        seed: of the views and the clusterings; default: 0.

    Raises:
        ValueError: for fewer images than clusters, or fewer than two views.
    """

    recipes = {
        "published": Recipe(
            origin="facebookresearch/swav main_deepclusterv2.py, README.md",
            batch_size=4096,
            epochs=800,
            optimizer="larc",
            learning_rate=0.6,
            weight_decay=1e-6,
            rate_power=0.75,  # 0.6 at 256 images per step and 4.8 at 4096
            warmup_epochs=10,
            warmup_start=0.0625,
            final_share=1e-3,
            options={"num_clusters": ShareOfImages(0.1, most=3000)},
        ),
        "small": small_recipe(
            options={"num_clusters": ShareOfImages(0.01, least=10, most=100)},
            views={"small_views": 0},
        ),
    }

    num_images: int

    def __init__(
        self,
        encoder: keras.Model,
        *,
        views: Callable,
        num_images: int,
        head: str | keras.Model = "mlp",
        num_clusters: int = 3000,
        num_clusterings: int = 3,
        iterations: int = 10,
        temperature: float = 0.1,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(encoder, views=views, temperature=temperature, seed=seed, **kwargs)
        if getattr(views, "num_views", 0) < STORED_VIEWS:
            raise ValueError(
                f"DeepCluster needs at least {STORED_VIEWS} views of each image, such as those of "
                f"views.swav; received {views!r}."
            )
        self.head = self.build_head(head, HEADS)
        self.num_images = int(num_images)
        self.memory = ClusterMemory(
            num_images,
            self.head.output_shape[-1],
            num_clusters,
            num_heads=num_clusterings,
            num_banks=STORED_VIEWS,
            iterations=iterations,
            seed=self.seed,
        )

    def objective(self, batch: dict[str, Any], training: bool) -> Objective:
        z = self.encode_views(batch["views"], training)
        # [heads, V·b, K]
        scores = cosine(tf.concat(z, axis=0), self.memory.centroids())
        if training:
            clusters = self.memory.clusters_of(batch["index"])
        else:
            first = scores[:, : tf.shape(z[0])[0]]
            clusters = tf.argmax(tf.stop_gradient(first), axis=-1, output_type=tf.int32)
        targets = tf.reshape(tf.tile(clusters, [1, len(z)]), [-1])
        scores = tf.reshape(scores, [-1, scores.shape[-1]])
        kept = batch.get("index"), z[:STORED_VIEWS]
        found = softmax_over_candidates(targets, scores, self.temperature)
        return mean_over(found).keep(kept)

    def after_step(self, kept: Any) -> None:
        self.memory.remember(*kept)

    def recluster(self, batches: tf.data.Dataset, epoch: int) -> None:
        """Clusters the stored embeddings; the first time, after storing those of `batches`."""
        if self.memory.is_empty():
            self._store_all(batches)
        self.memory.recluster(epoch)

    def _store_all(self, batches):
        strategy = self.distribute_strategy

        def store(data, step):
            # A different seed than in training and in evaluation.
            batch = self.make_batch(data, self.seed + 2, step)
            z = self.encode_views(batch["views"][:STORED_VIEWS], training=True)
            self.memory.remember(batch["index"], z)

        @tf.function(autograph=False)
        def run(data, step):
            strategy.run(store, args=(data, step))

        for step, data in enumerate(strategy.experimental_distribute_dataset(batches)):
            run(data, tf.constant(step, tf.int64))

    def method_callbacks(self, batches: tf.data.Dataset) -> list[keras.callbacks.Callback]:
        return [Recluster(batches)]

    @classmethod
    def default_views(cls, image_size: int, channels: int = 3, **changes) -> RandomViews:
        return swav_views(image_size, channels, **changes)

    def check_data(self, dataset: tf.data.Dataset) -> None:
        checks.check_index(self, dataset, self.num_images)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_images": self.num_images,
            "head": keras.saving.serialize_keras_object(self.head),
            "num_clusters": self.memory.num_clusters,
            "num_clusterings": self.memory.num_heads,
            "iterations": self.memory.iterations,
        }
