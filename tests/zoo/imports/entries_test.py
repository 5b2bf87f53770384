"""Entries of official checkpoints: downloaded once, converted at every call."""

import dataclasses
import os
import pathlib
import pickle

import numpy as np
import pytest

from cl_keras import zoo
from cl_keras.zoo import cards
from cl_keras.zoo.cards import schema
from cl_keras.zoo.download import cache
from cl_keras.zoo.publish import golden
from tests.zoo import server as answers
from tests.zoo.examples import card_of, foreign_file
from tests.zoo.imports import simclr_network

FIXTURE = pathlib.Path(__file__).parent / "fixtures" / "moco_v2.pth"
NAME = "moco_v2_resnet18_imagenet"
DESCRIPTION = cards.Encoder("resnet18", 32, 3, 8, "imagenet", 1 / 64)


@pytest.fixture
def entry(server, tmp_path, monkeypatch):
    """A function that writes the card of the checkpoint, which the server offers."""
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


def test_a_checkpoint_is_downloaded_once_and_nothing_else_is_kept(entry, server, cache_folder):
    expected = features(zoo.import_checkpoint(FIXTURE, "moco", image_size=32))
    first = zoo.load(NAME, progress=False)
    np.testing.assert_array_equal(features(first), expected)
    assert np.abs(expected).max() > 0.01
    again = zoo.load(NAME, progress=False)
    np.testing.assert_array_equal(features(again), expected)
    assert again.trainable and len(server.requests) == 1
    found = {path.name for path in cache_folder.rglob("*") if path.is_file()}
    assert found == {"a.pth", "pin.json", "lock"}


def test_a_file_that_changed_in_the_cache_is_never_read(entry, cache_folder):
    """Nothing derived from it is kept, so only its pin has to be right."""
    expected = features(zoo.load(NAME, progress=False))
    path = in_cache(cache_folder, "a.pth")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    np.testing.assert_array_equal(features(zoo.load(NAME, progress=False)), expected)
    assert path.read_bytes() == whole


def test_a_file_replaced_after_the_check_is_not_read(entry, cache_folder, monkeypatch):
    """What is read is what was checked: one descriptor for both."""
    expected = features(zoo.load(NAME, progress=False))
    path = in_cache(cache_folder, "a.pth")
    check = cache.mismatch

    def swap(expected, stream):
        problem = check(expected, stream)
        other = path.with_name("other")
        other.write_bytes(FIXTURE.with_name("moco_v1.pth").read_bytes())
        os.replace(other, path)
        return problem

    monkeypatch.setattr(cache, "mismatch", swap)
    np.testing.assert_array_equal(features(zoo.load(NAME, progress=False)), expected)


def test_a_later_change_of_the_official_file_is_refused(entry, server, cache_folder):
    zoo.load(NAME, progress=False)
    in_cache(cache_folder, "a.pth").unlink()
    server.answers["/a.pth"] = FIXTURE.with_name("swav.pth").read_bytes()
    with pytest.raises(ValueError, match="another file, or damaged"):
        zoo.load(NAME, progress=False)


def test_a_checkpoint_of_two_files_is_read(server, tmp_path, monkeypatch):
    values = simclr_network.variables(width=2)
    simclr_network.save(values, tmp_path / "model.ckpt-1")
    name, endings = "simclr_v2_resnet50_photos", (".index", ".data-00000-of-00001")
    files = []
    for kind, ending in zip(("encoder", cards.DATA), endings, strict=True):
        server.answers[f"/model{ending}"] = (tmp_path / f"model.ckpt-1{ending}").read_bytes()
        files.append(foreign_file(f"{server.address}/model{ending}", kind=kind, format="simclr"))
    description = cards.Encoder("resnet50", 32, 3, 64, "imagenet", 2 / 64)
    more = {"method": "simclr_v2", "name": name, "files": tuple(files)}
    (tmp_path / "zoo" / name).mkdir(parents=True)
    card = card_of(encoder=description, **more)
    (tmp_path / "zoo" / name / "card.json").write_text(schema.as_json(card))
    monkeypatch.setenv("CL_KERAS_ZOO", str(tmp_path / "zoo"))
    expected = features(zoo.import_checkpoint(tmp_path / "model.ckpt-1", "simclr", image_size=32))
    np.testing.assert_array_equal(features(zoo.load(name, progress=False)), expected)


@pytest.mark.parametrize("changes", [{"features": 64}, {"features": 16, "width": 1 / 32}])
def test_a_checkpoint_of_another_encoder_is_refused(entry, cache_folder, changes):
    entry(dataclasses.replace(DESCRIPTION, **changes))
    with pytest.raises(ValueError, match="describes .* features; the checkpoint is of resnet18"):
        zoo.load(NAME, progress=False)


class Harmful:
    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("kind", ["pickle", "page", "cut", "empty", "another method's"])
def test_a_file_that_is_not_a_checkpoint_is_refused(entry, server, tmp_path, cache_folder, kind):
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
    assert not canary.exists()


def test_an_unknown_format_gets_suggestions(entry):
    with pytest.raises(ValueError, match="Unknown format 'torchvison'. Did you mean 'torchvision'"):
        zoo.import_checkpoint(FIXTURE, "torchvison")
