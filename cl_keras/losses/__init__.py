"""Contrastive losses: pure functions of vectors, or of scores and targets."""

from cl_keras.losses.info_nce import info_nce, nce, nt_xent, softmax_over_candidates
from cl_keras.losses.noise_contrastive import noise_contrastive
from cl_keras.losses.swapped_assignment import softmax_over_codes, swapped_assignment
from cl_keras.similarity import cosine

__all__ = [
    "cosine",
    "info_nce",
    "nce",
    "noise_contrastive",
    "nt_xent",
    "softmax_over_candidates",
    "softmax_over_codes",
    "swapped_assignment",
]
