"""The embeddings of a whole data set, and clusters of them."""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from cl_keras.clustering.clusters import Clusters
from cl_keras.clustering.k_means import spherical_k_means
from cl_keras.negatives import MemoryBank


@keras.saving.register_keras_serializable("cl_keras")
class ClusterMemory(keras.layers.Layer):
    """The memory of DeepCluster-v2: embeddings by image, and several clusterings of them.

    Training stores the embeddings of `num_banks` views of each image; `recluster` groups them by
    spherical k-means into `num_heads` clusterings, which differ in their start and use the banks in
    turns.

    Args:
        num_images: N.
        dim: width of an embedding.
        num_clusters: K of each clustering.
        num_heads: number of clusterings; default: 3.
        num_banks: number of views of an image to store; default: 2.
        iterations: iterations of k-means; default: 10.
        seed: seed of the starts; default: 0.

    Attributes:
        banks: list of `MemoryBank`; rows are zero until they are stored.
        clusterings: list of `Clusters`.

    Raises:
        ValueError: for fewer images than clusters.
    """

    def __init__(
        self,
        num_images: int,
        dim: int,
        num_clusters: int,
        *,
        num_heads: int = 3,
        num_banks: int = 2,
        iterations: int = 10,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        self.num_images, self.dim, self.num_clusters = num_images, dim, num_clusters
        self.num_heads, self.num_banks = num_heads, num_banks
        self.iterations, self.seed = iterations, seed
        self.clusterings = [
            Clusters(num_images, dim, num_clusters, seed=seed + head) for head in range(num_heads)
        ]
        self.banks = [MemoryBank(num_images, dim, empty=True) for _ in range(num_banks)]
        self.built = True

    def centroids(self) -> tf.Tensor:
        """Centroids of all clusterings, `[heads, K, dim]`."""
        return tf.stack([clusters.centroids.value for clusters in self.clusterings])

    def clusters_of(self, index: tf.Tensor) -> tf.Tensor:
        """The cluster of each image in each clustering, int32 `[heads, b]`, -1 if unknown."""
        return tf.stack([clusters.of(index) for clusters in self.clusterings])

    def remember(self, index: tf.Tensor, embeddings: Sequence[tf.Tensor]) -> None:
        """Stores embeddings of images.

        Args:
            index: int `[b]`, images of this replica.
            embeddings: list of `num_banks` tensors `[b, dim]`; they are normalized first.
        """
        for bank, rows in zip(self.banks, embeddings, strict=True):
            bank.update(index, rows, momentum=0.0)

    def is_empty(self) -> bool:
        """Whether no embedding is stored; eagerly."""
        return not any(len(bank.stored()) for bank in self.banks)

    def recluster(self, epoch: int) -> None:
        """Clusters the stored embeddings, from new starts; eagerly.

        Args:
            epoch: epoch on which the starts depend.

        Raises:
            ValueError: if fewer embeddings are stored than there are clusters.
        """
        stored = self.banks[0].stored()
        if len(stored) < self.num_clusters:
            raise ValueError(
                f"Embeddings of {len(stored)} images are stored, fewer than the "
                f"{self.num_clusters} clusters. Give each image of the data set its own index, "
                "and cover all images in an epoch."
            )
        rows = [bank.bank.numpy()[stored] for bank in self.banks]
        for head, clusters in enumerate(self.clusterings):
            centroids, assignments = spherical_k_means(
                rows[head % self.num_banks],
                self.num_clusters,
                iterations=self.iterations,
                seed=[self.seed, epoch, head],
            )
            clusters.replace(centroids, stored, assignments)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_images": self.num_images,
            "dim": self.dim,
            "num_clusters": self.num_clusters,
            "num_heads": self.num_heads,
            "num_banks": self.num_banks,
            "iterations": self.iterations,
            "seed": self.seed,
        }
