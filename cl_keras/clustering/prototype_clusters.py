"""Clusters of a data set with their concentrations, the prototypes of PCL."""

from collections.abc import Sequence

import keras
import numpy as np

from cl_keras import distribute
from cl_keras.clustering.clusters import Clusters
from cl_keras.clustering.k_means import spherical_k_means

PERCENTILES = (10, 90)
"""Concentrations are clipped to these, as in the authors' code."""

SMOOTHING = 10
"""α of the concentration, which keeps that of small clusters bounded."""


@keras.saving.register_keras_serializable("cl_keras")
class PrototypeClusters(Clusters):
    """The clusters of N embeddings at one granularity, with their concentrations.

    Attributes:
        concentrations: `[K]`; see `concentrations_of`. Other attributes as for `Clusters`.
    """

    def __init__(self, num_images: int, dim: int, num_clusters: int, **kwargs):
        super().__init__(num_images, dim, num_clusters, **kwargs)
        self.concentrations = self.add_state("concentrations", [num_clusters], "ones")

    def cluster(
        self,
        vectors: np.ndarray,
        index: np.ndarray,
        *,
        temperature: float,
        seed: int | Sequence[int],
    ) -> None:
        """Clusters embeddings, from a new start; eagerly.

        Args:
            vectors: float `[n, dim]`, unit rows.
            index: int `[n]`, their images.
            temperature: mean of the concentrations.
            seed: seed of k-means.
        """
        centroids, clusters = spherical_k_means(vectors, self.num_clusters, seed=seed)
        concentrations = concentrations_of(vectors, centroids, clusters, temperature)
        self.replace(centroids, index, clusters)
        self.concentrations.assign(distribute.from_chief(concentrations))


def concentrations_of(
    vectors: np.ndarray, centroids: np.ndarray, clusters: np.ndarray, temperature: float
) -> np.ndarray:
    """The concentration of each cluster, i.e. its temperature (Li et al. 2021, equation 12).

        φ = Σ_z ‖v_z - c‖ / (Z · log(Z + α)),  α = 10

    over the Z members; clusters with at most one member get the largest φ of the others. All φ are
    then clipped to their 10th and 90th percentiles, and scaled to the mean `temperature`.

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
