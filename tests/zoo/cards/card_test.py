import dataclasses
import json

import pytest

from cl_keras.zoo import cards
from cl_keras.zoo.cards import schema
from tests.zoo.examples import CONTENT, card_of, file_of, foreign_file


def parse(text, what):
    return schema.read(cards.Card, text, what)


def changed(**changes):
    """The JSON of the example, with fields replaced; `a__b` is b inside a, `a__0__b` b of a[0]."""
    value = json.loads(schema.as_json(card_of()))
    for path, new in changes.items():
        *way, last = [int(part) if part.isdigit() else part for part in path.split("__")]
        inner = value
        for part in way:
            inner = inner[part]
        inner[last] = new
    return json.dumps(value)


@pytest.mark.parametrize(
    "card",
    [
        card_of(),
        card_of(foreign_file("https://example.org/a.pth", sha256_prefix="0123abcd")),
        card_of(golden=file_of(b"1", "golden.safetensors", kind="golden"), paper=None, notes=()),
        card_of(name="simclr_small_resnet_photos_4ep", tag="4ep", metrics=()),
    ],
)
def test_a_card_comes_back_from_its_file(card, tmp_path):
    (tmp_path / "card.json").write_text(schema.as_json(card), "utf-8")
    assert parse((tmp_path / "card.json").read_bytes(), "card") == card
    with pytest.raises(dataclasses.FrozenInstanceError):
        card.name = "other"


def test_a_whole_number_is_accepted_as_a_number():
    assert parse(changed(metrics__0__value=1), "card").metrics[0].value == 1.0


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(cards.Card)])
def test_a_missing_field_is_named(field):
    value = json.loads(schema.as_json(card_of()))
    del value[field]
    with pytest.raises(ValueError, match=f"the card lacks {field}; its fields are schema, name"):
        parse(json.dumps(value), "the card")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"surplus": 1}, "unknown fields 'surplus'"),
        ({"encoder__module": "os"}, r"card\.encoder has unknown fields 'module'"),
        ({"files__0__command": "ls"}, r"card\.files\[0\] has unknown fields 'command'"),
        ({"schema": 2}, "schema must be 1"),
        ({"schema": "1"}, r"card\.schema must be a whole number"),
        ({"schema": True}, r"card\.schema must be a whole number"),
        ({"schema": 1.0}, r"card\.schema must be a whole number"),
        ({"name": "../../etc"}, "name must be 'simclr_small_resnet_photos'"),
        ({"name": "simclr_small_resnet_other"}, "name must be 'simclr_small_resnet_photos'"),
        ({"name": None}, r"card\.name must be text"),
        ({"method": "../simclr"}, "must be lowercase letters"),
        ({"method": ""}, "must be lowercase letters"),
        ({"data": "photos/.."}, "must be lowercase letters"),
        ({"tag": "a b"}, "must be lowercase letters"),
        ({"encoder": None}, r"card\.encoder must be an object"),
        ({"encoder": []}, r"card\.encoder must be an object"),
        ({"encoder__name": "os.system"}, "name must be lowercase letters"),
        ({"encoder__name": "__import__"}, "name must be lowercase letters"),
        ({"encoder__image_size": 0}, "from 8 to 4096"),
        ({"encoder__image_size": 10**9}, "from 8 to 4096"),
        ({"encoder__image_size": 16.0}, "must be a whole number"),
        ({"encoder__channels": 2}, "1 or 3"),
        ({"encoder__features": 0}, "from 1 to 65536"),
        ({"encoder__features": 10**12}, "from 1 to 65536"),
        ({"encoder__width": 1e9}, "from 0.01 to 8"),
        ({"encoder__width": -1}, "from 0.01 to 8"),
        ({"encoder__width": 10**400}, "too large a number"),
        ({"encoder__stem": 7}, "must be text"),
        ({"training__epochs": "4"}, "must be a whole number"),
        ({"training__seeds": 3}, "must be a list"),
        ({"training__seeds": ["3"]}, r"seeds\[0\] must be a whole number"),
        ({"training__seeds": [2**63]}, "too large a number"),
        ({"training__config": [1]}, "must be an object"),
        ({"training__config": {"a": {"b": "\x1b[2J"}}}, "printable"),
        ({"files": []}, "files must include an encoder"),
        ({"files": {}}, "must be a list"),
        ({"files__0__kind": "pretraining"}, "files must include an encoder"),
        ({"files__0__kind": "../a"}, "kind must be lowercase letters"),
        ({"files__0__format": "a.b"}, "format must be lowercase letters"),
        ({"files__0__address": "../../.ssh/id"}, "below the entry's folder"),
        ({"files__0__address": "/etc/passwd"}, "below the entry's folder"),
        ({"files__0__address": "http://example.org/a"}, "not encrypted"),
        ({"files__0__address": "file://etc/passwd"}, "The address of a file must be"),
        ({"files__0__size": 0}, "size must be from 1"),
        ({"files__0__size": -1}, "size must be from 1"),
        ({"files__0__size": 2**60}, "size must be from 1"),
        ({"files__0__size": None}, "needs a sha256 and a size"),
        ({"files__0__sha256": None}, "needs a sha256 and a size"),
        ({"files__0__sha256": "0" * 63}, "64 hexadecimal digits"),
        ({"files__0__sha256": "G" * 64}, "64 hexadecimal digits"),
        ({"files__0__sha256": "0" * 64 + "\n"}, "printable"),
        ({"files__0__sha256_prefix": "012"}, "8 to 63 hexadecimal digits"),
        ({"golden": "golden.safetensors"}, r"card\.golden must be an object"),
        ({"metrics__0__value": "0.5"}, "must be a number"),
        ({"metrics__0__value": True}, "must be a number"),
        ({"metrics__0__protocol": ""}, "needs a name, and the protocol"),
        ({"paper__url": "javascript:alert(1)"}, "must begin with https"),
        ({"paper__url": "https://a.org/<script>"}, "must begin with https"),
        ({"paper__title": ""}, "needs a title"),
        ({"license": None}, r"card\.license must be an object"),
        ({"license__name": " "}, "needs a name"),
        ({"origin": ""}, "origin must say"),
        ({"origin": "a\nb"}, "printable"),
        ({"origin": "a\x1b]0;b\x07"}, "printable"),
        ({"origin": "a" * 2001}, "at most 2000"),
        ({"notes": "a"}, "must be a list"),
        ({"notes": ["a"] * 10_001}, "must be a list"),
    ],
)
def test_a_card_that_is_wrong_says_where(changes, message):
    with pytest.raises(ValueError, match=message):
        parse(changed(**changes), "card")


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "{", "[]", "null", "1", '"a"', "{}", b"\xff\xfe{}", b"\x00", "{'a': 1}"),
        *('{"a": NaN}', '{"a": Infinity}', '{"a": -Infinity}', '{"a": 1} {"b": 2}', "[" * 100_000),
        '{"a": ' * 100_000,
        "{" + '"a":' + "1" * 5000 + "}",
        changed()[:-1] + ', "name": "other_name"}',
        changed().replace("0.5", "1e999"),
        b"\x80\x04\x95cos\nsystem\n(S'ls'\ntR.",
        b"PK\x03\x04",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_other_json_is_not_a_card(text):
    with pytest.raises(ValueError, match="card"):
        parse(text, "card")


def test_a_missing_kind_is_named():
    card = card_of()
    assert card.file("encoder") == file_of(CONTENT)
    with pytest.raises(ValueError, match="has no file of kind 'pretraining'; it has 'encoder'"):
        card.file("pretraining")


def test_pretraining_needs_what_it_is_built_from():
    files = (file_of(CONTENT), file_of(CONTENT, "p.npz", kind="pretraining"))
    with pytest.raises(ValueError, match="needs training.config"):
        card_of(files=files)
    with pytest.raises(ValueError, match="at most one of each"):
        card_of(files=(file_of(CONTENT), file_of(CONTENT)))
