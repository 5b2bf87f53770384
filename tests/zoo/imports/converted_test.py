"""Entries whose file is an official checkpoint: converted once, and kept."""

import dataclasses
import json
import os
import pathlib
import pickle

import numpy as np
import pytest

from cl_keras import zoo
from cl_keras.zoo import cards
from cl_keras.zoo.cards import schema
from cl_keras.zoo.imports import converted
from cl_keras.zoo.publish import golden
from tests.zoo import server as answers
from tests.zoo.examples import card_of, foreign_file

FIXTURE = pathlib.Path(__file__).parent / "fixtures" / "moco_v2.pth"
NAME = "moco_v2_resnet18_imagenet"
DESCRIPTION = cards.Encoder("resnet18", 32, 3, 8, "imagenet", 1 / 64)


@pytest.fixture
def entry(server, tmp_path, monkeypatch):
    """A function that writes the card of the checkpoint, which the server has."""
    folder = tmp_path / "zoo"
    (folder / NAME).mkdir(parents=True)
    monkeypatch.setenv("CL_KERAS_ZOO", str(folder))
    server.answers["/a.pth"] = FIXTURE.read_bytes()

    def write(description=DESCRIPTION):
        file = foreign_file(f"{server.address}/a.pth", format="moco")
        more = {"method": "moco_v2", "data": "imagenet", "name": NAME}
        card = card_of(file, encoder=description, **more)
        (folder / NAME / "card.json").write_text(schema.as_json(card))

    write()
    return write


def features(encoder):
    return np.asarray(encoder(golden.images(32, 3), training=False))


def in_cache(cache_folder, name):
    [path] = (cache_folder / NAME).rglob(name)
    return path


def test_a_checkpoint_is_converted_once(entry, server, cache_folder, monkeypatch):
    expected = features(zoo.import_checkpoint(FIXTURE, "moco", image_size=32))
    first = zoo.load(NAME, progress=False)
    np.testing.assert_array_equal(features(first), expected)
    assert np.abs(expected).max() > 0.01
    in_cache(cache_folder, "a.pth").unlink()
    monkeypatch.setattr(converted, "import_checkpoint", None)
    again = zoo.load(NAME, progress=False)
    np.testing.assert_array_equal(features(again), expected)
    assert again.trainable and len(server.requests) == 1


@pytest.mark.parametrize("harm", ["flip", "remove", "other version", "link"])
def test_what_was_kept_is_made_anew_where_it_cannot_be_trusted(entry, cache_folder, harm, tmp_path):
    expected = features(zoo.load(NAME, progress=False))
    kept, note = in_cache(cache_folder, "converted.npz"), in_cache(cache_folder, "converted.json")
    whole = kept.read_bytes()
    if harm == "flip":
        kept.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif harm == "remove":
        kept.unlink()
    elif harm == "other version":
        note.write_text(json.dumps(json.loads(note.read_text()) | {"version": "0.0"}))
    else:
        kept.rename(tmp_path / "outside.npz")
        kept.symlink_to(tmp_path / "outside.npz")
    before = (tmp_path / "outside.npz").read_bytes() if harm == "link" else None
    np.testing.assert_array_equal(features(zoo.load(NAME, progress=False)), expected)
    assert not kept.is_symlink() and kept.read_bytes() == whole
    assert harm != "link" or (tmp_path / "outside.npz").read_bytes() == before


def test_a_later_change_of_the_official_file_is_refused(entry, server, cache_folder):
    zoo.load(NAME, progress=False)
    for name in ("a.pth", "converted.npz"):
        in_cache(cache_folder, name).unlink()
    server.answers["/a.pth"] = FIXTURE.with_name("swav.pth").read_bytes()
    with pytest.raises(ValueError, match="another file, or damaged"):
        zoo.load(NAME, progress=False)


@pytest.mark.parametrize("changes", [{"features": 64}, {"features": 16, "width": 1 / 32}])
def test_a_checkpoint_of_another_encoder_is_refused(entry, cache_folder, changes):
    entry(dataclasses.replace(DESCRIPTION, **changes))
    with pytest.raises(ValueError, match="describes .* features"):
        zoo.load(NAME, progress=False)
    assert not list(cache_folder.rglob("converted.*"))


class Harmful:
    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("kind", ["pickle", "page", "cut", "empty", "another method's"])
def test_a_checkpoint_that_is_none_is_refused(entry, server, tmp_path, cache_folder, kind):
    canary = tmp_path / "canary"
    whole = FIXTURE.read_bytes()
    server.answers["/a.pth"] = {
        "pickle": pickle.dumps(Harmful(canary)),
        "page": answers.whole(b"<html></html>", Content_Type="text/html"),
        "cut": whole[:-1000],
        "empty": answers.whole(b""),
        "another method's": FIXTURE.with_name("torchvision.pth").read_bytes(),
    }[kind]
    with pytest.raises(ValueError):
        zoo.load(NAME, progress=False)
    assert not canary.exists() and not list(cache_folder.rglob("converted.*"))


def test_an_unknown_format_is_answered_with_near_ones(entry):
    with pytest.raises(ValueError, match="no format 'torchvison'. Did you mean 'torchvision'"):
        zoo.import_checkpoint(FIXTURE, "torchvison")
