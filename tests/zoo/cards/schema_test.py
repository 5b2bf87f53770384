"""Untrusted JSON."""

import dataclasses
import json

import pytest

from cl_keras.zoo.cards import schema


def nested(levels, bracket="["):
    inner = "[" * levels + "]" * levels if bracket == "[" else '{"a":' * levels + "1" + "}" * levels
    return f'{{"a": {inner}}}'


@pytest.mark.parametrize("bracket", "[{")
def test_depth_is_bounded_on_every_version_of_python(bracket):
    """It is checked before parsing, since the parser's own limit differs."""
    most = schema.MAX_DEPTH - 1
    assert schema.parse_json(nested(most, bracket), "a") == json.loads(nested(most, bracket))
    for levels in (most + 1, 3_000, 200_000):
        with pytest.raises(ValueError, match="a is not valid JSON: it is nested more than 32"):
            schema.parse_json(nested(levels, bracket), "a")


@pytest.mark.parametrize(
    "text", ["[[[[" * 20, "\\" * 200, '\\"' + "[" * 200, "]" * 50, "{" * 99 + '\\"']
)
def test_brackets_in_text_do_not_count(text):
    content = json.dumps({"a": text, text: "b"})
    assert schema.parse_json(content, "a") == {"a": text, text: "b"}


@pytest.mark.parametrize("text", ['{"a": "' + '\\"' * 500_000, '{"a": ' + '"' * 500_001])
def test_unterminated_text_is_refused(text):
    with pytest.raises(ValueError, match="not valid JSON"):
        schema.parse_json(text, "a")


def test_a_duplicate_key_is_found_among_many():
    keys = [f'"k{i}": 1' for i in range(100_000)]
    with pytest.raises(ValueError, match="the key 'k7' is repeated"):
        schema.parse_json("{" + ",".join([*keys, '"k7": 2']) + "}", "a")


@dataclasses.dataclass(frozen=True)
class Pair:
    first: int
    second: int | None = None


def test_a_field_with_a_default_may_be_left_out():
    assert schema.read(Pair, '{"first": 1}', "a") == Pair(1)
    assert schema.read(Pair, '{"first": 1, "second": 2}', "a") == Pair(1, 2)
    with pytest.raises(ValueError, match="a lacks first"):
        schema.read(Pair, '{"second": 2}', "a")
