"""The configuration of a run as a file of flags, by which it can be done again."""

import json

NOT_FLAGS = {"images"}
"""What a run's configuration holds beside the values of flags."""


def flags_text(config, name, comment=None):
    """The text of a `recipe.flags`.

    Args:
        config: of the run.
        name: of the entry whose folder it is for.
        comment: its first lines, each with `#`; default: the command that does it again.
    """
    command = f"#   cl-keras pretrain --flagfile=zoo/{name}/recipe.flags --run=runs/{name}"
    lines = comment or [f"# {name}", command]
    for flag, value in config.items():
        if value is not None and flag not in NOT_FLAGS and value != {}:
            lines.append(f"--{flag}={_as_flag(value)}")
    return "\n".join(lines) + "\n"


def _as_flag(value):
    return json.dumps(value) if isinstance(value, dict | list | bool) else str(value)
