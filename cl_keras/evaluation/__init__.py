"""Evaluates representations: metrics with their protocol, error and baselines."""

from cl_keras.evaluation.advice import Training
from cl_keras.evaluation.baselines import WhitenedPCA, pca_whitened, raw_pixels
from cl_keras.evaluation.features import Features, features
from cl_keras.evaluation.few_labels import few_labels
from cl_keras.evaluation.health import alignment, effective_rank, health, uniformity
from cl_keras.evaluation.knn import knn, neighbors
from cl_keras.evaluation.linear import fit_linear_head, linear_probe
from cl_keras.evaluation.metric import Difference, Metric, difference
from cl_keras.evaluation.monitor import KNNMonitor
from cl_keras.evaluation.perturbed import perturb, retrieval_top1
from cl_keras.evaluation.retrieval import cross_retrieval
from cl_keras.evaluation.table import MAJORITY, METRICS, Encoded, encode, metrics_of, table
from cl_keras.evaluation.verdict import LEARNED, Verdict, verdict

__all__ = [
    "LEARNED",
    "MAJORITY",
    "METRICS",
    "Difference",
    "Encoded",
    "Features",
    "KNNMonitor",
    "Metric",
    "Training",
    "Verdict",
    "WhitenedPCA",
    "alignment",
    "cross_retrieval",
    "difference",
    "effective_rank",
    "encode",
    "features",
    "few_labels",
    "fit_linear_head",
    "health",
    "knn",
    "linear_probe",
    "metrics_of",
    "neighbors",
    "pca_whitened",
    "perturb",
    "raw_pixels",
    "retrieval_top1",
    "table",
    "uniformity",
    "verdict",
]
