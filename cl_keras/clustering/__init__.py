"""Clustering of embeddings, whose clusters serve as positives and negatives or as classes."""

from cl_keras.clustering.callback import Recluster
from cl_keras.clustering.cluster_memory import ClusterMemory
from cl_keras.clustering.clusters import Clusters
from cl_keras.clustering.k_means import spherical_k_means
from cl_keras.clustering.prototype_clusters import PrototypeClusters, concentrations_of
from cl_keras.clustering.sinkhorn import sinkhorn

__all__ = [
    "ClusterMemory",
    "Clusters",
    "PrototypeClusters",
    "Recluster",
    "concentrations_of",
    "sinkhorn",
    "spherical_k_means",
]
