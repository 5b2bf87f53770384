"""Checks the settings of Keras, which otherwise fail late with misleading errors.

This imports only the standard library.
"""

import json
import os
import sys
from pathlib import Path


def check() -> None:
    """Refuses settings of Keras that cl_keras does not support.

    Raises:
        ImportError: for a backend other than TensorFlow, or channels first.
    """
    path = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"
    settings = _read(path)
    backend, origin = settings.get("backend"), f'"backend" in {path}'
    if os.environ.get("KERAS_BACKEND"):
        backend, origin = os.environ["KERAS_BACKEND"], "the variable KERAS_BACKEND"
    if "keras" in sys.modules:
        backend, origin = sys.modules["keras"].config.backend(), "the imported keras"
    if backend not in (None, "tensorflow"):
        raise ImportError(
            f"cl_keras needs the TensorFlow backend of Keras; {origin} says {backend!r}. "
            "Set KERAS_BACKEND=tensorflow, before Keras is imported."
        )
    if settings.get("image_data_format", "channels_last") != "channels_last":
        raise ImportError(
            'cl_keras needs images with the channels last; "image_data_format" in '
            f"{path} says {settings['image_data_format']!r}. Remove it, or set KERAS_HOME to "
            "another folder."
        )


def _read(path):
    """The settings in a file; empty if Keras would read none."""
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}
