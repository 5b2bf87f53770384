"""Entries of official checkpoints: downloaded once, converted once."""

import concurrent.futures
import dataclasses
import os
import pathlib
import pickle

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from cl_keras import zoo
from cl_keras.zoo import cards
from cl_keras.zoo.cards import schema
from cl_keras.zoo.download import cache
from cl_keras.zoo.imports import conversions as kept
from cl_keras.zoo.imports.simclr import SimCLRFormat
from cl_keras.zoo.imports.torch_formats import TorchFormat
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


CONVERTED = "converted-*.safetensors"


@pytest.fixture
def conversions(monkeypatch):
    """A list that grows with every checkpoint that is read."""
    read, calls = TorchFormat.read, []

    def counted(self, stream):
        calls.append(stream.name)
        return read(self, stream)

    monkeypatch.setattr(TorchFormat, "read", counted)
    return calls


def values(encoder):
    return {variable.path: variable.numpy() for variable in encoder.variables}


def features(encoder):
    return np.asarray(encoder(golden.images(32, 3), training=False))


def in_cache(cache_folder, name):
    [path] = (cache_folder / NAME).rglob(name)
    return path


def test_a_checkpoint_is_downloaded_once(entry, server, cache_folder):
    expected = features(zoo.import_checkpoint(FIXTURE, "moco", image_size=32))
    first = zoo.load(NAME, progress=False)
    np.testing.assert_array_equal(features(first), expected)
    assert np.abs(expected).max() > 0.01
    again = zoo.load(NAME, progress=False)
    np.testing.assert_array_equal(features(again), expected)
    assert again.trainable and len(server.requests) == 1
    found = {path.name for path in cache_folder.rglob("*") if path.is_file()}
    assert found == {"a.pth", "pin.json", "lock", in_cache(cache_folder, CONVERTED).name}


def test_a_file_that_changed_in_the_cache_is_never_read(entry, cache_folder):
    expected = features(zoo.load(NAME, progress=False))
    path = in_cache(cache_folder, "a.pth")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    np.testing.assert_array_equal(features(zoo.load(NAME, progress=False)), expected)
    assert path.read_bytes() == whole


def test_a_checkpoint_is_converted_once(entry, conversions, cache_folder):
    first = zoo.load(NAME, progress=False)
    again = zoo.load(NAME, progress=False)
    assert len(conversions) == 1
    np.testing.assert_equal(values(again), values(first))
    np.testing.assert_array_equal(features(again), features(first))
    assert again.trainable


def test_another_checkpoint_has_its_own_conversion(entry, server, conversions, cache_folder):
    first = values(zoo.load(NAME, progress=False))
    whole = FIXTURE.read_bytes()
    weight = first["stem_conv/kernel"].ravel()[0].tobytes()
    assert whole.count(weight) == 1
    server.answers["/a.pth"] = whole.replace(weight, np.float32(7).tobytes())
    in_cache(cache_folder, "pin.json").unlink()
    second = values(zoo.load(NAME, progress=False))
    assert second["stem_conv/kernel"].ravel()[0] == 7 and len(conversions) == 2
    assert len(list((cache_folder / NAME).glob(CONVERTED))) == 2
    np.testing.assert_equal(values(zoo.load(NAME, progress=False)), second)
    assert len(conversions) == 2


def test_a_conversion_of_another_version_is_not_used(entry, conversions, cache_folder, monkeypatch):
    expected = values(zoo.load(NAME, progress=False))
    path = in_cache(cache_folder, CONVERTED)
    monkeypatch.setattr(kept, "VERSION", kept.VERSION + 1)
    np.testing.assert_equal(values(zoo.load(NAME, progress=False)), expected)
    assert len(conversions) == 2
    # Its header tells too, if it has the name of the new one.
    [new] = set((cache_folder / NAME).glob(CONVERTED)) - {path}
    os.replace(path, new)
    np.testing.assert_equal(values(zoo.load(NAME, progress=False)), expected)
    assert len(conversions) == 3


def flipped(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def rewritten(change):
    """Harm that leaves a valid file with the right header."""

    def harm(path):
        with safe_open(path, "numpy") as opened:
            header = opened.metadata()
        save_file(change(load_file(path)), path, header)

    return harm


HARM = {
    "missing": pathlib.Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "a web page": lambda path: path.write_bytes(b"<html></html>"),
    "a flipped bit": flipped,
    "no header": lambda path: save_file(load_file(path), path),
    "a link": lambda path: path.symlink_to(path.rename(path.with_name("other"))),
    "one is missing": rewritten(lambda arrays: dict(list(arrays.items())[1:])),
    "one too many": rewritten(lambda arrays: arrays | {"../a": np.zeros(3, "float32")}),
    "flat": rewritten(lambda arrays: {name: value.ravel() for name, value in arrays.items()}),
    "half": rewritten(lambda arrays: {n: value.astype("float16") for n, value in arrays.items()}),
    "NaN": rewritten(lambda arrays: {name: value * np.nan for name, value in arrays.items()}),
    "swapped": rewritten(
        lambda arrays: (
            arrays
            | {
                "stem_norm/gamma": arrays["stem_norm/beta"],
                "stem_norm/beta": arrays["stem_norm/gamma"],
            }
        )
    ),
}


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_conversion_is_made_again(entry, conversions, cache_folder, harm):
    expected = values(zoo.load(NAME, progress=False))
    path = in_cache(cache_folder, CONVERTED)
    HARM[harm](path)
    for _ in range(2):
        np.testing.assert_equal(values(zoo.load(NAME, progress=False)), expected)
    assert len(conversions) == 2 and not path.is_symlink()


def test_a_conversion_replaces_no_check_of_the_checkpoint(entry, server, conversions, cache_folder):
    zoo.load(NAME, progress=False)
    in_cache(cache_folder, "a.pth").write_bytes(b"another file")
    server.answers["/a.pth"] = answers.status(404)
    with pytest.raises(OSError, match="404"):
        zoo.load(NAME, progress=False)


def test_a_conversion_that_cannot_be_kept_is_still_used(
    entry, conversions, cache_folder, monkeypatch
):
    expected = values(zoo.load(NAME, progress=False))
    path = in_cache(cache_folder, CONVERTED)
    path.unlink()

    def full(partial, *_):
        partial.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept.tensors, "write", full)
    np.testing.assert_equal(values(zoo.load(NAME, progress=False)), expected)
    assert len(conversions) == 2
    assert {path.name for path in (cache_folder / NAME).iterdir() if path.is_file()} == {"lock"}


def test_several_that_convert_at_once_leave_one_whole_conversion(cache_folder):
    found = [{"a": np.full(10**6, i, "float32")} for i in range(4)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda arrays: kept.keep(NAME, "0" * 64, arrays), found))
    array = load_file(in_cache(cache_folder, CONVERTED))["a"]
    assert array.shape == (10**6,) and (array == array[0]).all()
    assert not list(cache_folder.rglob("partial"))


def test_a_link_in_place_of_an_unfinished_conversion_is_refused(entry, cache_folder, tmp_path):
    (tmp_path / "precious").write_bytes(b"years of work")
    (cache_folder / NAME).mkdir(parents=True)
    (cache_folder / NAME / "partial").symlink_to(tmp_path / "precious")
    with pytest.raises(ValueError, match="symbolic link, which the zoo does not follow"):
        zoo.load(NAME, progress=False)
    assert (tmp_path / "precious").read_bytes() == b"years of work"


def test_a_file_replaced_after_the_check_is_not_read(entry, cache_folder, monkeypatch):
    """What is read is what was checked: one descriptor for both."""
    expected = features(zoo.load(NAME, progress=False))
    path = in_cache(cache_folder, "a.pth")
    check = cache.compared

    def swap(stream, expected):
        result = check(stream, expected)
        other = path.with_name("other")
        other.write_bytes(FIXTURE.with_name("moco_v1.pth").read_bytes())
        os.replace(other, path)
        return result

    in_cache(cache_folder, CONVERTED).unlink()
    monkeypatch.setattr(cache, "compared", swap)
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
    monkeypatch.setattr(SimCLRFormat, "read", None)
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
