"""Contrastive losses: pure functions of vectors, or of scores and targets."""

from cl_keras.losses.info_nce import (
    info_nce,
    info_nce_in_batch,
    nce,
    nt_xent,
    softmax_over_bank,
)
from cl_keras.losses.noise_contrastive import noise_contrastive
from cl_keras.losses.queries import Queries, softmax_over_candidates
from cl_keras.losses.sup_con import positives_in_batch, softmax_over_positives
from cl_keras.losses.swapped_assignment import softmax_over_codes, swapped_assignment
from cl_keras.similarity import cosine

__all__ = [
    "Queries",
    "cosine",
    "info_nce",
    "info_nce_in_batch",
    "nce",
    "noise_contrastive",
    "nt_xent",
    "positives_in_batch",
    "softmax_over_bank",
    "softmax_over_candidates",
    "softmax_over_codes",
    "softmax_over_positives",
    "swapped_assignment",
]
