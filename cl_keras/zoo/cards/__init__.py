"""The description of a zoo entry: its card, name, addresses and page."""

from cl_keras.zoo.cards.card import (
    DATA,
    OWN_FORMAT,
    SCHEMA,
    Card,
    Encoder,
    File,
    License,
    Metric,
    Paper,
    Training,
)

__all__ = [
    "DATA",
    "OWN_FORMAT",
    "SCHEMA",
    "Card",
    "Encoder",
    "File",
    "License",
    "Metric",
    "Paper",
    "Training",
]
