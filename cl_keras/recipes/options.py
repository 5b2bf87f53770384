"""Options declared once, as the fields of a frozen dataclass, and checked as a whole."""

import dataclasses
import functools
import json
import math
import numbers
import types
import typing
from collections.abc import Mapping
from typing import Any

from cl_keras.spelling import did_you_mean


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] | None = None,
    required: bool = False,
    flag: bool = True,
) -> Any:
    """A field of an `Options` class.

    Args:
        default: the default value; None leaves the choice to the recipe.
        help: one sentence for the user.
        minimum: smallest valid number; default: None, no limit.
        maximum: largest valid number; default: None, no limit.
        above: number that the value must exceed; default: None, no limit.
        choices: the valid values; default: None, any.
        required: whether it must be given; default: False.
        flag: whether the command line has a flag with this name; default: True.
    """
    metadata: dict[str, Any] = {"help": help, "choices": choices}
    metadata |= {"required": required, "flag": flag}
    metadata |= {"minimum": minimum, "maximum": maximum, "above": above}
    if isinstance(default, dict | list):
        return dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Options:
    """Base of the option classes, which checks every value on construction.

    NumPy's numbers are converted to Python's. A value of another type, out of range, or not among
    the choices raises a ValueError that names the option, the expected and the received value.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = _checked(field, kind_of(type(self), field.name), getattr(self, field.name))
            object.__setattr__(self, field.name, value)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "options") -> typing.Self:
        """Options from plain values, as in `config.json`; missing ones get their defaults.

        Args:
            values: names and values.
            where: where they come from, for errors; default: "options".

        Raises:
            ValueError: for an unknown name, or an invalid value.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"{where} must be an object of names and values; received {values!r}.")
        known = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in known:
                hint = did_you_mean(str(name), known)
                raise ValueError(f"{where} has the unknown option {name!r}.{hint}")
        try:
            return cls(**values)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None

    def to_dict(self) -> dict[str, Any]:
        """The values in a form that JSON can hold."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    def replace(self, **changes: Any) -> typing.Self:
        """The same options with some replaced; all are checked again."""
        return dataclasses.replace(self, **changes)


def flag_fields(cls: type[Options]) -> list[dataclasses.Field]:
    """The fields of an options class that have a flag on the command line."""
    return [field for field in dataclasses.fields(cls) if field.metadata["flag"]]


@dataclasses.dataclass(frozen=True)
class Kind:
    """Type of an option: `base` is str, int, float, bool, list (of str) or dict."""

    base: type
    optional: bool


def kind_of(cls: type, name: str) -> Kind:
    """The `Kind` of a field, from its annotation."""
    hint = _hints(cls)[name]
    if isinstance(hint, types.UnionType):
        [base] = [part for part in typing.get_args(hint) if part is not types.NoneType]
        return Kind(base, optional=True)
    return Kind(typing.get_origin(hint) or hint, optional=False)


_hints = functools.cache(typing.get_type_hints)

WORDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object of names and values",
}


def _checked(field, kind, value):
    """The value converted to its kind, and checked."""
    if value is None:
        if kind.optional:
            return None
        raise ValueError(f"{field.name} must be {WORDS[kind.base]}; received None.")
    converted = as_plain(value, kind.base)
    if converted is None:
        raise ValueError(f"{field.name} must be {WORDS[kind.base]}; received {value!r}.")
    if field.metadata["choices"] is not None:
        _check_choice(field, converted)
    if kind.base in (int, float):
        _check_range(field, converted)
    return converted


def as_plain(value: Any, base: type) -> Any:
    """A value as a plain `base`, or None if it is not one; whole numbers are floats too."""
    if base is bool or isinstance(value, bool):
        return value if base is bool and isinstance(value, bool) else None
    if base is int:
        return int(value) if isinstance(value, numbers.Integral) else None
    if base is float:
        valid = isinstance(value, numbers.Real) and math.isfinite(value)
        return float(value) if valid else None
    if base is dict:
        return plain_json(value) if isinstance(value, Mapping) else None
    return value if isinstance(value, base) else None


def plain_json(value: Any) -> Any:
    """Nested values in a form that JSON can hold: Python's numbers for NumPy's, lists for tuples.

    Raises:
        ValueError: for a value that JSON cannot hold.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) and math.isfinite(value):
        return float(value)
    if isinstance(value, Mapping):
        return {str(name): plain_json(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(inner) for inner in value]
    raise ValueError(
        f"a configuration can only hold finite numbers, text, lists and dicts; received {value!r}."
    )


def _check_choice(field, value):
    choices = field.metadata["choices"]
    if value not in choices:
        hint = did_you_mean(str(value), choices)
        listed = ", ".join(choices)
        raise ValueError(f"{field.name} must be one of {listed}; received {value!r}.{hint}")


def _check_range(field, value):
    low, high, above = (field.metadata[name] for name in ("minimum", "maximum", "above"))
    valid = (
        (low is None or value >= low)
        and (high is None or value <= high)
        and (above is None or value > above)
    )
    if not valid:
        raise ValueError(f"{field.name} must be {range_of(field)}; received {value!r}.")


def range_of(field: dataclasses.Field) -> str:
    """The valid range of a number in words; "" if there is no limit."""
    bounds = [("at least", "minimum"), ("above", "above"), ("at most", "maximum")]
    parts = [
        f"{words} {field.metadata[name]:g}"
        for words, name in bounds
        if field.metadata[name] is not None
    ]
    return " and ".join(parts)
