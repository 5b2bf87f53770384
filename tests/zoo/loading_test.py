import dataclasses
import hashlib
import json
import os
import pickle

import numpy as np
import pytest
from safetensors.numpy import load_file, save

from cl_keras import encoders, zoo
from cl_keras.zoo import cards, imports
from cl_keras.zoo.cards import page, schema
from cl_keras.zoo.publish import golden
from tests.zoo.entries import DESCRIPTION, NAME, write_entry
from tests.zoo.examples import file_of


@pytest.fixture
def entry(tmp_path, monkeypatch):
    """(card, encoder) of an entry in CL_KERAS_ZOO, whose folder is tmp_path / "zoo"."""
    monkeypatch.setenv("CL_KERAS_ZOO", str(tmp_path / "zoo"))
    return write_entry(tmp_path / "zoo")


def test_an_encoder_comes_back_bit_for_bit(entry):
    card, expected = entry
    encoder = zoo.load(NAME)
    for received, wanted in zip(encoder.variables, expected.variables, strict=True):
        np.testing.assert_array_equal(received, wanted)
    shown = golden.images(16, 1)
    np.testing.assert_array_equal(encoder(shown), expected(shown))


def test_an_encoder_has_the_normalization_of_its_card(tmp_path, monkeypatch):
    monkeypatch.setenv("CL_KERAS_ZOO", str(tmp_path / "zoo"))
    layered = dataclasses.replace(DESCRIPTION, norm="layer")
    card, expected = write_entry(tmp_path / "zoo", layered)
    encoder = zoo.load(NAME)
    assert not any(isinstance(layer, encoders.BatchNormalization) for layer in encoder.layers)
    shown = golden.images(16, 1)
    np.testing.assert_array_equal(encoder(shown), expected(shown))
    assert "1 channel, layer normalization" in page.markdown(card)


def test_it_is_trainable(entry):
    encoder = zoo.load(NAME)
    assert encoder.trainable
    assert len(encoder.trainable_variables) == len(entry[1].trainable_variables) > 0


def rewrite(tmp_path, card, content=None, **changes):
    """Rewrites the entry with another file or another card."""
    folder = tmp_path / "zoo" / NAME
    if content is not None:
        (folder / "encoder.safetensors").write_bytes(content)
        changes["files"] = (file_of(content),)
    (folder / "card.json").write_text(schema.as_json(dataclasses.replace(card, **changes)))


class Harmful:
    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("kind", ["objects", "path", "page", "other", "cut"])
def test_a_file_with_the_right_hash_is_still_not_trusted(entry, tmp_path, kind, monkeypatch):
    """A hash shows that it is the card's file, not that the card is good."""
    canary = tmp_path / "canary"
    right = load_file(tmp_path / "zoo" / NAME / "encoder.safetensors")
    if kind == "path":
        right["../../evil"] = np.zeros(3, "float32")
    elif kind == "other":
        del right["stem_conv/kernel"]
    content = save(right)
    content = {
        "objects": pickle.dumps(Harmful(canary)),
        "page": b"<html></html>",
        "cut": content[:-100],
    }.get(kind, content)
    rewrite(tmp_path, entry[0], content)
    with pytest.raises(ValueError, match=f"{NAME}: encoder"):
        zoo.load(NAME)
    assert not canary.exists() and not list(tmp_path.rglob("evil*"))


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"name": "vgg"}, "no encoder 'vgg'.* It has resnet18"),
        ({"name": "resnet81"}, "Did you mean 'resnet18'"),
        ({"features": 33}, "has 32 features; the card says 33"),
        ({"width": 0.5, "features": 64}, "should be float32"),
        ({"name": "resnet18", "features": 128}, "requests more weights than its"),
        ({"stem": "small"}, "cannot be built"),
        ({"name": "resnet18", "stem": "huge", "features": 128}, "stem must be one of"),
        ({"channels": 3}, "should be float32"),
    ],
)
def test_a_card_that_does_not_fit_its_file_is_refused(entry, tmp_path, changes, message):
    card, _ = entry
    encoder = dataclasses.replace(card.encoder, **changes)
    name = f"simclr_{encoder.name}_photos"
    (tmp_path / "zoo" / NAME).rename(tmp_path / "zoo" / name)
    changed = dataclasses.replace(card, encoder=encoder, name=name)
    (tmp_path / "zoo" / name / "card.json").write_text(schema.as_json(changed))
    with pytest.raises(ValueError, match=message):
        zoo.load(name)


CONFIG = {
    "method": "moco",
    "encoder": "small_resnet",
    "head": None,
    "temperature": 0.2,
    "seed": 0,
    "views": {},
    "method_options": {"queue_size": 16},
    "images": 32,
    "batch_size": 8,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "weight_decay": 0.0,
    "epochs": 1,
    "warmup_epochs": 0.1,
}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"method": "os.system"}, "method must be one of"),
        ({"method": ["moco"]}, "method must be text"),
        ({"encoder": "vgg"}, "encoder must be one of"),
        (
            {"method_options": {"queue_size": 10**12}},
            "requests more weights than its .* bytes hold",
        ),
        (
            {"method": "deepcluster", "method_options": {"num_clusterings": 10**9}},
            "requests more weights than its .* bytes hold",
        ),
        ({"method_options": {"queue_size": [10**12]}}, "queue_size of moco must be a whole number"),
        (
            {"method": "instdisc", "images": 10**12, "method_options": {}},
            "A memory bank of 1,000,000,000,000 × 128 numbers needs",
        ),
        ({"method_options": {"queue": 1}}, "has no option 'queue'"),
        ({"method_options": {"encoder": 1}}, "has no option 'encoder'"),
        ({"method_options": {"head": {"class_name": "Lambda"}}}, "head of moco must be text"),
        ({"method_options": ["a"]}, "method_options must be an object"),
        ({"views": None}, "views must be an object"),
        ({"views": {"strength": 1}}, "strength"),
        ({"temperature": "hot"}, "No model can be built from|temperature"),
        ({"temperature": -1}, "temperature"),
        ({"batch_size": 0}, "batch_size must be at least 2"),
        ({"optimizer": "magic"}, "optimizer must be one of"),
        ({}, "requests more weights than its .* bytes hold"),
    ],
)
def test_a_hostile_configuration_builds_nothing(entry, tmp_path, changes, message):
    card, _ = entry
    pretraining = dataclasses.replace(card.files[0], kind="pretraining")
    config = json.loads(json.dumps(CONFIG | changes))
    rewrite(
        tmp_path,
        card,
        files=(card.files[0], pretraining),
        training=dataclasses.replace(card.training, config=config),
    )
    with pytest.raises(ValueError, match=message):
        zoo.load(NAME, kind="pretraining")


@pytest.mark.parametrize("field", ["encoder", "images", "batch_size"])
def test_a_configuration_without_what_it_needs_is_refused(entry, tmp_path, field):
    card, _ = entry
    pretraining = dataclasses.replace(card.files[0], kind="pretraining")
    config = {key: value for key, value in CONFIG.items() if key != field}
    training = dataclasses.replace(card.training, config=config)
    rewrite(tmp_path, card, files=(card.files[0], pretraining), training=training)
    with pytest.raises(ValueError, match="training.config must have encoder, images and batch"):
        zoo.load(NAME, kind="pretraining")


def test_a_missing_kind_is_named(entry):
    with pytest.raises(ValueError, match="has no file of kind 'pretraining'; it has 'encoder'"):
        zoo.load(NAME, kind="pretraining")


def test_golden_features_detect_another_encoder(entry, tmp_path):
    card, encoder = entry
    with open(tmp_path / "zoo" / NAME / "golden.safetensors", "rb") as stream:
        assert golden.gap(zoo.load(NAME), stream, card) <= golden.TOLERANCE
        kernel = encoder.get_layer("stem_conv").kernel
        kernel.assign(kernel * 1.001)
        assert golden.gap(encoder, stream, card) > golden.TOLERANCE


def test_golden_images_never_change():
    shown = golden.images(8, 3)
    assert shown.shape == (4, 8, 8, 3) and shown.dtype == np.uint8
    assert hashlib.sha256(shown[:2].tobytes()).hexdigest()[:16] == "b3c20de41ab639c3"
    assert np.abs(np.diff(shown[2].astype(int), axis=1)).max() < 128


def test_the_format_of_our_own_files_has_one_name():
    assert cards.OWN_FORMAT not in imports.FORMATS
