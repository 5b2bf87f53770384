"""The clusters of a data set: their centroids, and the cluster of each image."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cl_keras import distribute
from cl_keras.bounds import check_memory
from cl_keras.similarity import random_unit_rows

UNKNOWN = -1
"""Stands for the cluster of an image that had no embedding when the clusters were made."""


@keras.saving.register_keras_serializable("cl_keras")
class Clusters(keras.layers.Layer):
    """A clustering of N images, the same on all replicas.

    Args:
        num_images: N.
        dim: width of an embedding.
        num_clusters: K.
        seed: seed of the initial centroids; default: 0.

    Attributes:
        centroids: `[K, dim]`, unit rows, initially random.
        assignments: int32 `[N]`, -1 if unknown, as all are initially.

    Raises:
        ValueError: for fewer images than clusters, or more than fit into memory.
    """

    def __init__(self, num_images: int, dim: int, num_clusters: int, *, seed: int = 0, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if num_images < num_clusters:
            raise ValueError(
                f"num_clusters must be at most {num_images}, the number of images; received "
                f"{num_clusters}. Use a tenth of the images or fewer."
            )
        check_memory([num_images], "A table of clusters", "Give a smaller num_images.")
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
        """A weight that is set by clustering, the same on all replicas."""
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
        """The cluster of each image, int32 `[b]`, -1 if unknown.

        Args:
            index: int `[b]`.
        """
        return tf.gather(self.assignments.value, index)

    def replace(self, centroids: np.ndarray, index: np.ndarray, clusters: np.ndarray) -> None:
        """Sets new clusters, eagerly; with several workers, those of the chief.

        Args:
            centroids: float `[K, dim]`.
            index: int `[n]`, the images that were clustered; all others become unknown.
            clusters: int `[n]`, the cluster of each of these images.
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
