"""Sources of images: folders, arrays, TensorFlow Datasets, and the bundled set."""

from cl_keras.data.batches import Batches
from cl_keras.data.identity import Changes, Identity, compare
from cl_keras.data.image_batches import image_batches
from cl_keras.data.image_files import name_unserved, unserved
from cl_keras.data.loading import load
from cl_keras.data.pairs import Pairs
from cl_keras.data.source import Source, write_skipped
from cl_keras.data.subsets import Joined, Subset, join, split
from cl_keras.data.summary import Summary

__all__ = [
    "Batches",
    "Changes",
    "Identity",
    "Joined",
    "Pairs",
    "Source",
    "Subset",
    "Summary",
    "compare",
    "image_batches",
    "join",
    "load",
    "name_unserved",
    "split",
    "unserved",
    "write_skipped",
]
