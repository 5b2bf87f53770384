"""Clusters of a data set with the concentration of each: the prototypes of PCL."""

import keras
import numpy as np
import tensorflow as tf

from cl_keras import distribute
from cl_keras.clustering.cluster_memory import UNKNOWN
from cl_keras.clustering.k_means import spherical_k_means

PERCENTILES = (10, 90)
"""Concentrations outside of these are brought to them, as in the authors' code."""

SMOOTHING = 10
"""α of the concentration: keeps that of small clusters from running away."""


@keras.saving.register_keras_serializable("cl_keras")
class PrototypeClusters(keras.layers.Layer):
    """The clusters of N embeddings at one granularity.

    Attributes: `centroids` `[K, dim]`, unit rows; `concentrations` `[K]`, see `concentrations_of`;
    `assignments` int32 `[N]`, -1 before the first clustering.

    Args:
        num_images: N.
        dim: width of an embedding.
        num_clusters: K.

    Raises:
        ValueError: for fewer images than clusters.
    """

    def __init__(self, num_images, dim, num_clusters, **kwargs):
        super().__init__(autocast=False, **kwargs)
        if num_images < num_clusters:
            raise ValueError(
                f"{num_images} images are fewer than {num_clusters} clusters; give num_clusters "
                f"below {num_images}, a tenth of it or less."
            )
        self.num_images, self.dim, self.num_clusters = num_images, dim, num_clusters
        state = {"trainable": False, "aggregation": "only_first_replica", "autocast": False}
        self.centroids = self.add_weight(
            name="centroids", shape=[num_clusters, dim], initializer="zeros", **state
        )
        self.concentrations = self.add_weight(
            name="concentrations", shape=[num_clusters], initializer="ones", **state
        )
        self.assignments = self.add_weight(
            name="assignments",
            shape=[num_images],
            dtype="int32",
            initializer=lambda shape, dtype: tf.fill(shape, tf.constant(UNKNOWN, dtype)),
            **state,
        )
        self.built = True

    def cluster(self, vectors, index, *, temperature, seed):
        """Makes the clusters anew; eagerly.

        Args:
            vectors: float `[n, dim]`, unit rows.
            index: int `[n]`, which images they are.
            temperature: mean of the concentrations.
            seed: of k-means.
        """
        centroids, clusters = spherical_k_means(vectors, self.num_clusters, seed=seed)
        assignments = np.full([self.num_images], UNKNOWN, np.int32)
        assignments[index] = clusters
        concentrations = concentrations_of(vectors, centroids, clusters, temperature)
        self.centroids.assign(distribute.from_chief(centroids))
        self.assignments.assign(distribute.from_chief(assignments))
        self.concentrations.assign(distribute.from_chief(concentrations))

    def get_config(self):
        return {
            **super().get_config(),
            "num_images": self.num_images,
            "dim": self.dim,
            "num_clusters": self.num_clusters,
        }


def concentrations_of(vectors, centroids, clusters, temperature):
    """How tight each cluster is: the temperature of its prototype (Li et al. 2021, equation 12).

        φ = Σ_z ‖v_z - c‖ / (Z · log(Z + α)),  α = 10

    over the Z members; that of a cluster with one member or none is the largest of all. All are
    then brought into their 10th to 90th percentiles and scaled to the mean `temperature`.

    Args:
        vectors: `[N, d]`.
        centroids: `[K, d]`.
        clusters: int `[N]`.
        temperature: τ.

    Returns:
        float64 `[K]`.
    """
    count = np.bincount(clusters, minlength=len(centroids))
    distances = np.linalg.norm(vectors - centroids[clusters], axis=1)
    total = np.bincount(clusters, weights=distances, minlength=len(centroids))
    loose = total / np.maximum(count * np.log(count + SMOOTHING), 1.0)
    loose = np.where(count > 1, loose, loose[count > 1].max(initial=0.0))
    loose = np.clip(loose, *np.percentile(loose, PERCENTILES))
    mean = loose.mean()
    return np.full(len(loose), temperature) if mean == 0 else temperature * loose / mean
