"""Validates untrusted JSON into frozen dataclasses."""

import dataclasses
import functools
import json
import math
import re
import types
import typing
from typing import Any, TypeVar

from cl_keras.recipes.options import WORDS

T = TypeVar("T")
MAX_DEPTH = 32
MAX_TEXT = 2000
MAX_LIST = 10_000


def read(kind: type[T], text: str | bytes, what: str) -> T:
    """A dataclass from a JSON object, its fields checked against their annotations.

    Supported are str, int, float, bool, None, unions, `tuple[X, ...]`, `dict` (plain JSON) and
    other dataclasses. A `__post_init__` checks everything else and raises a ValueError.

    Raises:
        ValueError: for anything but strict JSON of finite numbers and printable lines, or a field
            that is missing, unknown, or of another type; the message begins with `what`.
    """
    value = parse_json(text, what)
    _check_plain(value, what)
    return _read(kind, value, what)


def parse_json(text: str | bytes, what: str) -> Any:
    """The value of JSON without repeated keys or deep nesting."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        _check_depth(text)
        return json.loads(text, object_pairs_hook=_no_key_twice)
    except ValueError as error:
        raise ValueError(f"{what} is not valid JSON: {error}.") from None


def as_json(value: Any) -> str:
    """A dataclass as JSON for `read`: one indented line per field, in their order."""
    return json.dumps(dataclasses.asdict(value), indent=2, allow_nan=False) + "\n"


_hints = functools.cache(typing.get_type_hints)


def _read(hint, value, where):
    if isinstance(hint, types.UnionType):
        options = [option for option in typing.get_args(hint) if option is not types.NoneType]
        if value is None and len(options) < len(typing.get_args(hint)):
            return None
        [hint] = options
    if dataclasses.is_dataclass(hint):
        return _read_object(hint, value, where)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list) or len(value) > MAX_LIST:
            received = len(value) if isinstance(value, list) else _kind(value)
            raise ValueError(f"{where} must be a list of at most {MAX_LIST}; received {received}.")
        item = typing.get_args(hint)[0]
        return tuple(_read(item, part, f"{where}[{i}]") for i, part in enumerate(value))
    if hint is float and type(value) is int:
        value = float(value)
    if type(value) is not hint:
        raise ValueError(f"{where} must be {WORDS[hint]}; received {_kind(value)}.")
    return value


def _read_object(kind, value, where):
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object; received {_kind(value)}.")
    fields = {field.name: field for field in dataclasses.fields(kind)}
    known = f"its fields are {', '.join(fields)}"
    optional = {n for n, field in fields.items() if field.default is not dataclasses.MISSING}
    if missing := [name for name in fields if name not in value and name not in optional]:
        raise ValueError(f"{where} lacks {', '.join(missing)}; {known}.")
    if unknown := sorted(set(value) - set(fields)):
        listed = ", ".join(repr(name[:60]) for name in unknown[:5])
        raise ValueError(f"{where} has unknown fields {listed}; {known}.")
    hints = _hints(kind)
    found = {name: _read(hints[name], part, f"{where}.{name}") for name, part in value.items()}
    try:
        return kind(**found)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def _check_plain(value, where):
    """Refuses infinite or huge numbers, and long or unprintable text, at any depth."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} must be finite.")
    if isinstance(value, int) and abs(value) >= 2**63:
        raise ValueError(f"{where} is too large a number.")
    if isinstance(value, str) and (len(value) > MAX_TEXT or not value.isprintable()):
        raise ValueError(
            f"{where} must be one line of at most {MAX_TEXT} printable characters; "
            f"received {value[:60]!r}."
        )
    if isinstance(value, dict):
        for key, part in value.items():
            _check_plain(key, f"{where}, a key")
            _check_plain(part, f"{where}.{key}")
    if isinstance(value, list):
        for i, part in enumerate(value):
            _check_plain(part, f"{where}[{i}]")


def _kind(value):
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "an object"
    return repr(value)[:60]


def _check_depth(text):
    """Checks the depth before parsing, since the parser's own limit depends on Python's version."""
    depth, inside = 0, re.sub(r'"(?:[^"\\]|\\.)*+"?', "", text, flags=re.DOTALL)
    for bracket in re.finditer(r"[\[{}\]]", inside):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")


def _no_key_twice(pairs):
    found = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:60]!r} is repeated")
        found[key] = value
    return found
