import dataclasses
import json
import os
import threading

import pytest

from cl_keras import zoo
from cl_keras.zoo import cards, catalog
from cl_keras.zoo.cards import schema
from cl_keras.zoo.download import cache, http
from tests.zoo import server as answers
from tests.zoo.examples import CONTENT, card_of, file_of, foreign_file

NAME = "simclr_small_resnet_photos"


def text_of(*entries, base=None, schema=1):
    content = {"schema": schema, "base": base}
    return json.dumps(content | {"entries": [dataclasses.asdict(card) for card in entries]})


def other_card():
    return card_of(
        name="moco_resnet18_birds_9ep",
        method="moco",
        data="birds",
        tag="9ep",
        encoder=cards.Encoder("resnet18", 96, 3, 512, None, 1.0),
    )


@pytest.fixture
def own(monkeypatch, tmp_path):
    """Replaces the package's own catalog by an empty one."""
    path = tmp_path / "package" / "cl_keras" / "zoo" / "catalog.json"
    path.parent.mkdir(parents=True)
    path.write_text(text_of())
    monkeypatch.setattr(catalog, "OWN", path)
    return path


@pytest.fixture
def folder(tmp_path, own, monkeypatch):
    """A folder with one entry and its file, in CL_KERAS_ZOO."""
    folder = tmp_path / "company"
    write_entry(folder, card_of())
    monkeypatch.setenv("CL_KERAS_ZOO", str(folder))
    return folder


def write_entry(folder, card, content=CONTENT):
    (folder / card.name).mkdir(parents=True)
    (folder / card.name / "card.json").write_text(schema.as_json(card))
    (folder / card.name / "encoder.safetensors").write_bytes(content)


def test_a_folder_of_entries_is_a_catalog(folder):
    write_entry(folder, other_card())
    assert zoo.list() == ["moco_resnet18_birds_9ep", NAME]
    assert zoo.list(method="moco") == zoo.list(encoder="resnet18") == zoo.list(data="birds")
    assert zoo.list(method="simclr", data="photos") == [NAME]
    assert zoo.list(method="simclr", data="photos", encoder="small_resnet") == [NAME]
    assert zoo.card(NAME.upper()) == card_of()
    assert zoo.download(NAME) == folder / NAME / "encoder.safetensors"


def test_filters_that_find_nothing_say_what_there_is(folder):
    with pytest.raises(ValueError, match="with the method 'simclrr'. Did you mean 'simclr'"):
        zoo.list(method="simclrr")
    with pytest.raises(ValueError, match="with the data 'imagenet'. It has: photos"):
        zoo.list(data="imagenet")


def test_a_misspelled_name_gets_suggestions(folder):
    for ask in (zoo.card, zoo.load, zoo.download):
        with pytest.raises(ValueError, match=f"Did you mean '{NAME}'"):
            ask("simclr_small_resnet_photo")
        with pytest.raises(ValueError, match="has no 'x_y'. `cl-keras zoo list` shows all 1"):
            ask("x_y")


def test_several_catalogs_files_and_folders(folder, tmp_path, monkeypatch):
    file = tmp_path / "catalog.json"
    file.write_text(text_of(other_card()))
    monkeypatch.setenv("CL_KERAS_ZOO", f" {folder} , {file},, file://{file}")
    assert zoo.list() == ["moco_resnet18_birds_9ep", NAME]


def test_catalogs_that_disagree_about_a_name_are_named(folder, tmp_path, monkeypatch):
    file = tmp_path / "catalog.json"
    monkeypatch.setenv("CL_KERAS_ZOO", f"{folder},{file}")
    file.write_text(text_of(card_of()))
    assert zoo.card(NAME) == card_of()
    file.write_text(text_of(card_of(origin="somebody else")))
    with pytest.raises(ValueError, match="Catalogs disagree about .*company and .*catalog.json"):
        zoo.card(NAME)


def test_a_missing_catalog_is_named(own, tmp_path, monkeypatch):
    monkeypatch.setenv("CL_KERAS_ZOO", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="CL_KERAS_ZOO names .*nowhere"):
        zoo.list()


def test_the_shipped_catalog_takes_files_from_the_clone_or_its_base(own, server, monkeypatch):
    own.write_text(text_of(card_of()))
    with pytest.raises(FileNotFoundError, match="Clone the repository .* set CL_KERAS_ZOO"):
        zoo.download(NAME)
    own.write_text(text_of(card_of(), base=f"{server.address}/files/"))
    server.answers[f"/files/{NAME}/encoder.safetensors"] = CONTENT
    assert zoo.download(NAME, progress=False).is_relative_to(cache.root())
    clone = own.parents[2] / "zoo"
    write_entry(clone, card_of())
    assert zoo.download(NAME) == clone / NAME / "encoder.safetensors"


def test_a_catalog_at_an_address_has_its_files_next_to_it(own, server, monkeypatch):
    server.answers["/zoo/catalog.json"] = text_of(card_of()).encode()
    server.answers[f"/zoo/{NAME}/encoder.safetensors"] = CONTENT
    monkeypatch.setenv("CL_KERAS_ZOO", f"{server.address}/zoo/catalog.json")
    assert zoo.list() == [NAME]
    assert zoo.download(NAME, progress=False).read_bytes() == CONTENT
    assert zoo.list() == [NAME]
    assert server.count("/zoo/catalog.json") == 1  # once a process


def forget():
    catalog._read_remote.cache_clear()


def test_without_the_network_the_last_catalog_is_used(own, server, monkeypatch):
    address = f"{server.address}/catalog.json"
    monkeypatch.setenv("CL_KERAS_ZOO", address)
    server.answers["/catalog.json"] = text_of(card_of()).encode()
    assert zoo.list() == [NAME]
    forget()
    server.answers["/catalog.json"] = answers.status(404)
    assert zoo.list() == [NAME]
    forget()
    monkeypatch.setenv("CL_KERAS_OFFLINE", "1")
    asked = len(server.requests)
    assert zoo.list() == [NAME]
    assert len(server.requests) == asked
    forget()
    monkeypatch.setenv("CL_KERAS_ZOO", f"{address}?other")
    with pytest.raises(OSError, match="CL_KERAS_OFFLINE is set"):
        zoo.list()


def test_a_catalog_that_cannot_be_reached_is_given_up_soon(own, monkeypatch):
    """Every attempt may take the time that a server has to answer, if it is silent."""
    pauses = []
    monkeypatch.setattr(http.time, "sleep", pauses.append)
    monkeypatch.setenv("CL_KERAS_ZOO", "http://127.0.0.1:9/catalog.json")
    with pytest.raises(OSError, match="that CL_KERAS_ZOO names cannot be read. .*/catalog.json"):
        zoo.list()
    assert len(pauses) == catalog.LIMITS.attempts - 1 > 0
    assert sum(pauses) <= 5
    assert sum(pauses) + catalog.LIMITS.attempts * catalog.LIMITS.timeout <= 20


def test_a_silent_server_has_the_time_of_a_catalog(own, server, monkeypatch):
    monkeypatch.setattr(catalog, "LIMITS", dataclasses.replace(catalog.LIMITS, timeout=0.1))
    monkeypatch.setattr(http.time, "sleep", lambda _: None)
    server.answers["/catalog.json"] = lambda *_: threading.Event().wait(0.5)
    monkeypatch.setenv("CL_KERAS_ZOO", f"{server.address}/catalog.json")
    with pytest.raises(OSError, match="(timed out|took too long).*; 2 attempts failed[.]$"):
        zoo.list()
    assert server.count("/catalog.json") == 2


@pytest.mark.parametrize(
    "answer",
    [
        answers.status(404),
        answers.whole(b"<html></html>", Content_Type="text/html"),
        answers.whole(b"{"),
        answers.whole(b"\x80\x04."),
        answers.whole(b"{}", Content_Length=catalog.MAX_BYTES + 1),
        answers.redirect("http://example.org/catalog.json"),
    ],
)
def test_something_other_than_a_catalog_is_not_kept(own, server, answer, monkeypatch, cache_folder):
    server.answers["/catalog.json"] = answer
    monkeypatch.setenv("CL_KERAS_ZOO", f"{server.address}/catalog.json")
    with pytest.raises((ValueError, OSError), match="catalog.json|not encrypted"):
        zoo.list()
    assert [path.name for path in cache_folder.rglob("*.json")] == []


@pytest.mark.parametrize(
    "address", ["file:///etc/passwd", "file://localhost/etc/passwd", "http://localhost:1/a"]
)
@pytest.mark.parametrize("where", ["file", "golden", "base"])
def test_a_downloaded_catalog_cannot_name_local_files(address, where):
    file = foreign_file(address)
    card = {
        "file": lambda: card_of(file),
        "golden": lambda: card_of(golden=dataclasses.replace(file, kind="golden")),
        "base": card_of,
    }[where]()
    text = text_of(card, base=address if where == "base" else None)
    assert catalog.parse(text, "here").entries == (card,)
    with pytest.raises(ValueError, match="may not"):
        catalog.parse(text, "there", referrer="https://example.org/catalog.json")


def test_a_local_catalog_may_name_any_file(folder, tmp_path, monkeypatch):
    (tmp_path / "weights.npz").write_bytes(CONTENT)
    file = tmp_path / "catalog.json"
    card = card_of(file_of(CONTENT, f"file://{tmp_path}/weights.npz"))
    file.write_text(text_of(card))
    monkeypatch.setenv("CL_KERAS_ZOO", str(file))
    assert zoo.download(NAME) == tmp_path / "weights.npz"


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "not valid JSON"),
        ("[]", "must be an object"),
        ("{}", "lacks schema, base, entries"),
        (text_of(schema=2), "schema must be 1"),
        (text_of(card_of(), card_of()), "there is more than one entry"),
        (text_of(base="http://example.org"), "not encrypted"),
        (text_of(base="../.."), "is not a supported address"),
        (text_of(base=7), "base must be text"),
        (text_of(card_of()).replace('"entries": [', '"entries": [null, '), r"entries\[0\] must be"),
        (text_of(card_of()).replace(NAME, "../../etc"), r"entries\[0\]: name must be"),
        (text_of(card_of()).replace("encoder.safetensors", "../../a"), "below the entry's folder"),
        (
            text_of(card_of()).replace("encoder.safetensors", "/etc/passwd"),
            "below the entry's folder",
        ),
        (text_of(card_of())[:-1] + ', "run": "os.system"}', "unknown fields 'run'"),
    ],
)
def test_a_catalog_that_is_wrong_says_where(text, message):
    with pytest.raises(ValueError, match=message):
        catalog.parse(text, "the catalog")


def test_a_huge_catalog_is_refused(own, tmp_path, monkeypatch):
    path = tmp_path / "catalog.json"
    with open(path, "wb") as file:
        file.truncate(catalog.MAX_BYTES + 1)
    with pytest.raises(ValueError, match="the maximum of a catalog"):
        catalog.read(str(path))


@pytest.mark.parametrize("link", ["file", "card", "entry"])
def test_a_link_out_of_the_folder_is_refused(folder, tmp_path, link):
    outside = tmp_path / "outside"
    (folder / NAME).rename(outside)
    if link == "entry":
        (folder / NAME).symlink_to(outside)
    else:
        (folder / NAME).mkdir()
        linked, other = ("encoder.safetensors", "card.json")[:: 1 if link == "file" else -1]
        os.replace(outside / other, folder / NAME / other)
        (folder / NAME / linked).symlink_to(outside / linked)
    for use in (zoo.download, zoo.load):
        with pytest.raises(ValueError, match="through a link, which is refused"):
            use(NAME)


def test_a_folder_and_its_card_must_have_the_same_name(folder):
    (folder / NAME).rename(folder / "other_name")
    with pytest.raises(ValueError, match="folder and name must agree"):
        zoo.list()


def test_a_file_next_to_its_catalog_is_checked_and_never_removed(folder):
    path = folder / NAME / "encoder.safetensors"
    path.write_bytes(b"x" + CONTENT[1:])
    for use in (zoo.download, zoo.load):
        with pytest.raises(ValueError, match="is not the file that its card names"):
            use(NAME)
    assert path.exists()
