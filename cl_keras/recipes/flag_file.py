"""Writes a configuration as a file of flags, to repeat a run."""

import json
from typing import Any

from cl_keras.recipes.config import Config
from cl_keras.recipes.options import flag_fields


def flags_text(config: dict[str, Any], name: str, comment: list[str] | None = None) -> str:
    """The text of a `recipe.flags`.

    Args:
        config: the configuration of a run.
        name: name of the entry whose folder it is for.
        comment: its first lines, each with `#`; default: the command that repeats the run.
    """
    command = f"#   cl-keras pretrain --flagfile=zoo/{name}/recipe.flags --run=runs/{name}"
    lines = comment or [f"# {name}", command]
    names = {field.name for field in flag_fields(Config)}
    for flag, value in config.items():
        if value is not None and flag in names and value != {}:
            lines.append(f"--{flag}={_as_flag(value)}")
    return "\n".join(lines) + "\n"


def _as_flag(value):
    return json.dumps(value) if isinstance(value, dict | list | bool) else str(value)
