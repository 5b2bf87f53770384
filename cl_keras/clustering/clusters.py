"""The clusters of a data set: centroids, and which image belongs to which."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cl_keras import distribute
from cl_keras.similarity import random_unit_rows

UNKNOWN = -1
"""Cluster of an image that had no embedding when the clusters were made."""


@keras.saving.register_keras_serializable("cl_keras")
class Clusters(keras.layers.Layer):
    """One clustering of N images. Every replica holds the same.

    Attributes: `centroids` `[K, dim]`, unit rows, random at the start; `assignments` int32 `[N]`,
    -1 where unknown, as all are at the start.

    Args:
        num_images: N.
        dim: width of an embedding.
        num_clusters: K.
        seed: of the random centroids.

    Raises:
        ValueError: for fewer images than clusters.
    """

    def __init__(self, num_images: int, dim: int, num_clusters: int, *, seed: int = 0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if num_images < num_clusters:
            raise ValueError(
                f"{num_images} images are fewer than {num_clusters} clusters; give num_clusters "
                f"below {num_images}, a tenth of it or less."
            )
        self.num_images, self.dim, self.num_clusters = num_images, dim, num_clusters
        self.seed = seed
        self.centroids = self.add_state("centroids", [num_clusters, dim], random_unit_rows(seed))
        self.assignments = self.add_state(
            "assignments",
            [num_images],
            lambda shape, dtype: tf.fill(shape, tf.constant(UNKNOWN, dtype)),
            dtype="int32",
        )
        self.built = True

    def add_state(
        self, name: str, shape: list[int], initializer: Any, dtype: str | None = None
    ) -> keras.Variable:
        """A weight that clustering sets, the same on every replica."""
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=initializer,
            dtype=dtype,
            trainable=False,
            aggregation="only_first_replica",
            autocast=False,
        )

    def of(self, index: tf.Tensor) -> tf.Tensor:
        """The cluster of each image, int32 `[b]`, -1 where unknown.

        Args:
            index: int `[b]`.
        """
        return tf.gather(self.assignments.value, index)

    def replace(self, centroids: np.ndarray, index: np.ndarray, clusters: np.ndarray) -> None:
        """Sets new clusters; eagerly. With several workers, those of the chief.

        Args:
            centroids: float `[K, dim]`.
            index: int `[n]`, the images that were clustered; all others are unknown.
            clusters: int `[n]`, the cluster of each.
        """
        assignments = np.full([self.num_images], UNKNOWN, np.int32)
        assignments[index] = clusters
        self.centroids.assign(distribute.from_chief(centroids))
        self.assignments.assign(distribute.from_chief(assignments))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_images": self.num_images,
            "dim": self.dim,
            "num_clusters": self.num_clusters,
            "seed": self.seed,
        }
