"""The embeddings of a whole data set, and the clusters that they fall into."""

import keras
import numpy as np
import tensorflow as tf

from cl_keras import distribute
from cl_keras.clustering.k_means import spherical_k_means
from cl_keras.similarity import normalize, random_unit_rows

UNKNOWN = -1
"""Cluster of an image that had no embedding when the clusters were made."""


@keras.saving.register_keras_serializable("cl_keras")
class ClusterMemory(keras.layers.Layer):
    """What DeepCluster-v2 keeps: embeddings by image, centroids, and assignments.

    The embeddings of `num_banks` views of each image are stored as training goes; `recluster`
    groups them by spherical k-means, once for each of `num_heads` clusterings, which differ by
    their start and take the banks in turns. Every replica holds the same.

    Args:
        num_images: N.
        dim: width of an embedding.
        num_clusters: K of each clustering.
        num_heads: number of clusterings.
        num_banks: views of an image that are stored.
        iterations: of k-means.
        seed: of the starts.

    Attributes: `banks`, a list of `[N, dim]`, unit rows, zero where nothing is stored yet;
    `centroids` `[heads, K, dim]`, unit rows; `assignments` int32 `[heads, N]`, -1 where unknown.

    Raises:
        ValueError: for fewer images than clusters.
    """

    def __init__(
        self,
        num_images,
        dim,
        num_clusters,
        *,
        num_heads=3,
        num_banks=2,
        iterations=10,
        seed=0,
        **kwargs,
    ):
        super().__init__(autocast=False, **kwargs)
        if num_images < num_clusters:
            raise ValueError(
                f"{num_images} images are fewer than the {num_clusters} clusters; give "
                f"num_clusters below {num_images}, a tenth of it or less."
            )
        self.num_images, self.dim, self.num_clusters = num_images, dim, num_clusters
        self.num_heads, self.num_banks = num_heads, num_banks
        self.iterations, self.seed = iterations, seed
        state = {"trainable": False, "aggregation": "only_first_replica", "autocast": False}
        self.banks = [
            self.add_weight(name=f"bank_{i}", shape=[num_images, dim], initializer="zeros", **state)
            for i in range(num_banks)
        ]
        self.centroids = self.add_weight(
            name="centroids",
            shape=[num_heads, num_clusters, dim],
            initializer=random_unit_rows(self.seed),
            **state,
        )
        self.assignments = self.add_weight(
            name="assignments",
            shape=[num_heads, num_images],
            dtype="int32",
            initializer=lambda shape, dtype: tf.fill(shape, tf.constant(UNKNOWN, dtype)),
            **state,
        )
        self.built = True

    def clusters_of(self, index):
        """The cluster of each image in each clustering, int32 `[heads, b]`, -1 where unknown."""
        return tf.gather(self.assignments.value, index, axis=1)

    def remember(self, index, embeddings):
        """Stores embeddings of images.

        Args:
            index: int `[b]`, images of this replica.
            embeddings: list of `num_banks` tensors `[b, dim]`; they are normalised.
        """
        index = distribute.gather(index)
        for bank, rows in zip(self.banks, embeddings, strict=True):
            rows = distribute.gather(tf.cast(normalize(rows), bank.dtype))
            distribute.write_rows(bank, index, rows)

    def is_empty(self):
        """Whether no embedding is stored; eagerly."""
        return not any(np.any(bank.numpy()) for bank in self.banks)

    def recluster(self, epoch):
        """Makes the clusters anew from the stored embeddings; eagerly.

        Args:
            epoch: int; another epoch draws other starts.

        Raises:
            ValueError: if fewer embeddings are stored than there are clusters.
        """
        banks = [bank.numpy() for bank in self.banks]
        stored = np.flatnonzero(np.linalg.norm(banks[0], axis=1) > 0)
        if len(stored) < self.num_clusters:
            raise ValueError(
                f"Embeddings of {len(stored)} images are stored, fewer than the "
                f"{self.num_clusters} clusters. Does the data set give every image its own index, "
                "and one epoch cover it?"
            )
        centroids = np.empty(self.centroids.shape, self.centroids.dtype)
        assignments = np.full(self.assignments.shape, UNKNOWN, np.int32)
        for head in range(self.num_heads):
            centroids[head], assignments[head, stored] = spherical_k_means(
                banks[head % self.num_banks][stored],
                self.num_clusters,
                iterations=self.iterations,
                seed=[self.seed, epoch, head],
            )
        self.centroids.assign(distribute.from_chief(centroids))
        self.assignments.assign(distribute.from_chief(assignments))

    def get_config(self):
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
