"""Published weights: list, load, card, download, publish, and import of official checkpoints."""

from cl_keras.zoo.cards import Card, Licence, Metric, Paper
from cl_keras.zoo.client import card, download, list
from cl_keras.zoo.converted import import_checkpoint
from cl_keras.zoo.loading import load
from cl_keras.zoo.publishing import publish

__all__ = [
    "Card",
    "Licence",
    "Metric",
    "Paper",
    "card",
    "download",
    "import_checkpoint",
    "list",
    "load",
    "publish",
]
