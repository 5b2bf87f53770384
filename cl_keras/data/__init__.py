"""Where images come from: folders, arrays, TensorFlow Datasets, and the bundled set."""

from cl_keras.data.batches import Batches
from cl_keras.data.identity import Changes, Identity, compare
from cl_keras.data.image_batches import image_batches
from cl_keras.data.loading import load
from cl_keras.data.source import Source, write_skipped

__all__ = [
    "Batches",
    "Changes",
    "Identity",
    "Source",
    "compare",
    "image_batches",
    "load",
    "write_skipped",
]
