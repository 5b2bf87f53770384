"""Reads, checks and writes the records of checkpoints."""

from __future__ import annotations

import pathlib
import re
from typing import Any

from absl import logging

from cl_keras.files import write_atomically
from cl_keras.runs import checksummed_json

MANIFEST = "manifest.json"
FILE = re.compile(r"epoch-\d{5,}-batch-\d{7,}\.npz")

Record = dict[str, Any]


def position(record: Record) -> tuple[int, int]:
    """Number of finished epochs, and of finished batches of the next one."""
    return record["epoch"], record["batch"]


def write(folder: pathlib.Path, record: Record) -> None:
    """Writes the record of one checkpoint next to it."""
    path = (folder / record["file"]).with_suffix(".json")
    write_atomically(path, checksummed_json.dumps(record))


def write_manifest(folder: pathlib.Path, records: list[Record], best: str | None) -> None:
    """Writes a copy of all records, and the name of the best checkpoint."""
    manifest = {"checkpoints": records, "best": best}
    write_atomically(folder / MANIFEST, checksummed_json.dumps(manifest))


def read_all(folder: pathlib.Path) -> tuple[list[Record], int]:
    """All records, oldest first, from their own files and the manifest.

    Returns:
        (records, number of damaged files, which are left out).
    """
    found: dict[tuple[int, int], Record] = {}
    broken = 0
    for path in [*folder.glob("epoch-*.json"), folder / MANIFEST]:
        try:
            content = checksummed_json.loads(path.read_bytes())
            records = [_checked(record) for record in content.get("checkpoints", [content])]
        except FileNotFoundError:
            continue
        except (ValueError, OSError) as error:
            logging.warning("%s is damaged (%s) and ignored.", path, error)
            broken += 1
            continue
        found |= {position(record): record for record in records}
    return [found[at] for at in sorted(found)], broken


def _checked(record) -> Record:
    """The record, if it is valid."""
    if not isinstance(record, dict):
        raise ValueError("a record is not a JSON object")
    expected = {
        "epoch": _is_count,
        "batch": _is_count,
        "step": _is_count,
        # A plain name, which cannot leave the folder.
        "file": lambda value: isinstance(value, str) and FILE.fullmatch(value),
        "sha256": lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value),
        "logs": lambda value: isinstance(value, dict) and all(map(_is_number, value.values())),
        "run": lambda value: isinstance(value, dict),
    }
    for name, is_valid in expected.items():
        if name not in record or not is_valid(record[name]):
            raise ValueError(f"a record has no valid {name!r}")
    return record


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)
