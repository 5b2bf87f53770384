"""Pretrained weights: list, load, card, download, publish, and import of official checkpoints.

Whatever is wrong with a name, address, card or file is a ValueError that names it; what cannot be
read, written or downloaded is an OSError. Nothing in a file is run.
"""

from cl_keras.zoo.cards import Card, License, Metric, Paper
from cl_keras.zoo.client import card, download, list, load
from cl_keras.zoo.imports import import_checkpoint
from cl_keras.zoo.publish.publishing import publish

__all__ = [
    "Card",
    "License",
    "Metric",
    "Paper",
    "card",
    "download",
    "import_checkpoint",
    "list",
    "load",
    "publish",
]
