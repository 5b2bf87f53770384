"""How good a representation is, in plain numbers with their protocol."""

from cl_keras.evaluation.baselines import WhitenedPCA, pca_whitened, raw_pixels
from cl_keras.evaluation.disturbed import disturb, find_original
from cl_keras.evaluation.features import Features, features
from cl_keras.evaluation.few_labels import few_labels
from cl_keras.evaluation.health import alignment, effective_rank, health, uniformity
from cl_keras.evaluation.knn import knn, neighbours
from cl_keras.evaluation.linear import fit_linear_head, linear_probe
from cl_keras.evaluation.monitor import KNNMonitor
from cl_keras.evaluation.table import MEASURES, table

__all__ = [
    "MEASURES",
    "Features",
    "KNNMonitor",
    "WhitenedPCA",
    "alignment",
    "disturb",
    "effective_rank",
    "features",
    "few_labels",
    "find_original",
    "fit_linear_head",
    "health",
    "knn",
    "linear_probe",
    "neighbours",
    "pca_whitened",
    "raw_pixels",
    "table",
    "uniformity",
]
