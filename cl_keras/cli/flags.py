"""Makes flags from option classes, and reads options from flags."""

import json
import os
from typing import TypeVar

from absl import flags as absl_flags

from cl_keras.recipes.options import Options, flag_fields, kind_of

T = TypeVar("T", bound=Options)


def define(flags: absl_flags.FlagValues, *classes: type[Options]) -> None:
    """Declares a flag for each option of the classes."""
    for cls in classes:
        for field in flag_fields(cls):
            _define(flags, field, kind_of(cls, field.name).base)


def read(flags: absl_flags.FlagValues, cls: type[T]) -> T:
    """Reads the options of a class from parsed flags.

    Raises:
        ValueError: for an invalid value.
    """
    values = {}
    for field in flag_fields(cls):
        value = getattr(flags, field.name)
        if kind_of(cls, field.name).base is dict:
            value = _json_object(field.name, value)
        values[field.name] = value
    return cls(**values)


def read_file(path: str | os.PathLike, cls: type[T]) -> T:
    """Reads the options of a class from a file of flags, such as an entry's recipe.flags."""
    flags = absl_flags.FlagValues()
    define(flags, cls)
    flags(["cl-keras", f"--flagfile={os.fspath(path)}"])
    return read(flags, cls)


def _define(flags, field, base):
    data, own = field.metadata, {"flag_values": flags}
    help_text = f"Required. {data['help']}" if data["required"] else data["help"]
    default = None if data["required"] else field.default
    if base is dict:
        absl_flags.DEFINE_string(field.name, "{}", help_text, **own)
    elif base is list:
        absl_flags.DEFINE_multi_string(field.name, [], help_text, **own)
    elif data["choices"] is not None:
        absl_flags.DEFINE_enum(field.name, default, data["choices"], help_text, **own)
    elif base is bool:
        absl_flags.DEFINE_bool(field.name, default, help_text, **own)
    elif base is int or base is float:
        maker = absl_flags.DEFINE_integer if base is int else absl_flags.DEFINE_float
        bounds = {"lower_bound": data["minimum"], "upper_bound": data["maximum"]}
        maker(field.name, default, help_text, **bounds, **own)
    else:
        absl_flags.DEFINE_string(field.name, default, help_text, **own)
    if data["required"]:
        absl_flags.mark_flag_as_required(field.name, flag_values=flags)


def _json_object(name, text):
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"--{name} must be JSON; received {text!r} ({error}).") from None
    if not isinstance(value, dict):
        raise ValueError(f"--{name} must be a JSON object of names and values; received {text!r}.")
    return value
