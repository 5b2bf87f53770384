"""Cards and files of entries that exist only in tests."""

import hashlib

from cl_keras.zoo import cards

CONTENT = bytes(range(256)) * 4096
"""A megabyte."""


def file_of(content, address="encoder.safetensors", **changes):
    """A `cards.File` of our own format."""
    sha256 = hashlib.sha256(content).hexdigest()
    fields = {"kind": "encoder", "format": cards.OWN_FORMAT, "address": address}
    fields |= {"size": len(content), "sha256": sha256, "sha256_prefix": None}
    return cards.File(**fields | changes)


def foreign_file(address, **changes):
    """A `cards.File` of which only the address is known."""
    unknown = {"format": "torchvision", "size": None, "sha256": None}
    return file_of(b"", address, **unknown | changes)


def card_of(file=None, **changes):
    """A `cards.Card` of a small ResNet."""
    fields = {
        "schema": 1,
        "name": "simclr_small_resnet_photos",
        "method": "simclr",
        "data": "photos",
        "tag": None,
        "encoder": cards.Encoder("small_resnet", 16, 1, 32, None, 0.25),
        "training": cards.Training(4, (3,), "two cores", "recipe.flags", None),
        "files": (file or file_of(CONTENT),),
        "golden": None,
        "metrics": (cards.Metric("knn", 0.5, "cosine, k 20", None),),
        "paper": cards.Paper("A Simple Framework", "https://arxiv.org/abs/2002.05709"),
        "origin": "a test",
        "license": cards.License("Apache-2.0", None),
        "notes": ("Not for use.",),
    }
    return cards.Card(**fields | changes)
