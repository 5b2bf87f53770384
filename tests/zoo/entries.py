"""Entries with real weights of an untrained encoder, which are quickly made."""

import keras
import numpy as np
from PIL import Image

from cl_keras.files import sha256
from cl_keras.zoo import cards
from cl_keras.zoo.cards import schema
from cl_keras.zoo.publish import golden
from cl_keras.zoo.weights import building, tensors, variables
from tests.zoo.examples import card_of

NAME = "simclr_small_resnet_photos"
DESCRIPTION = cards.Encoder("small_resnet", 16, 1, 32, None, 0.25)


def write_entry(folder, description=DESCRIPTION, **changes):
    """Writes an entry into a folder of entries.

    Returns:
        Its card, and the encoder.
    """
    keras.utils.set_random_seed(7)
    encoder = building.encoder(description)
    for variable in encoder.variables:  # moving statistics and offsets too
        noise = np.random.default_rng(len(variable.path)).uniform(0.5, 1.5, variable.shape)
        variable.assign(variable * noise + 0.01 * noise)
    place = folder / changes.get("name", NAME)
    place.mkdir(parents=True)
    tensors.write(place / "encoder.safetensors", variables.values(encoder))
    golden.write(place / "golden.safetensors", encoder, description)
    card = card_of(
        _file("encoder", place / "encoder.safetensors"),
        golden=_file("golden", place / "golden.safetensors"),
        encoder=description,
        **changes,
    )
    (place / "card.json").write_text(schema.as_json(card), "utf-8")
    return card, encoder


def _file(kind, path):
    size = path.stat().st_size
    return cards.File(kind, cards.OWN_FORMAT, path.name, size, sha256(path), None)


def write_photos(folder, classes=("cats", "dogs"), count=16):
    """Class folders of gray pictures of 16 pixels: dark blobs, and bright ones."""
    generator = np.random.default_rng(0)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = generator.integers(128 * label, 128 * label + 100, [4, 4]).astype("uint8")
            image = Image.fromarray(pixels).resize([16, 16], Image.Resampling.BICUBIC)
            image.save(folder / name / f"{i:02}.png")
    return f"folder:{folder}"
