"""Uses of an encoder: classifiers from few labels, search, duplicates, and what to label next."""

from cl_keras.downstream.classifier import Classifier, HeldOut, Predictions
from cl_keras.downstream.duplicates import Pair, describe, duplicates
from cl_keras.downstream.finetuning import finetune
from cl_keras.downstream.search import Index
from cl_keras.downstream.selection import select

__all__ = [
    "Classifier",
    "HeldOut",
    "Index",
    "Pair",
    "Predictions",
    "describe",
    "duplicates",
    "finetune",
    "select",
]
