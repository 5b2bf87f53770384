"""The description of a zoo entry: its card, name, addresses and page."""

from cl_keras.zoo.cards.card import (
    DATA,
    KINDS,
    OWN_FORMAT,
    SCHEMA,
    Card,
    Encoder,
    File,
    License,
    Metric,
    Paper,
    Training,
    parse,
    read,
)

__all__ = [
    "DATA",
    "KINDS",
    "OWN_FORMAT",
    "SCHEMA",
    "Card",
    "Encoder",
    "File",
    "License",
    "Metric",
    "Paper",
    "Training",
    "parse",
    "read",
]
