"""Runs `cl-keras`, which kills itself while writing a checkpoint.

  python tools/die_in_write.py SPOT COUNT pretrain --run=... ...

SPOT, one of `SPOTS`, is a moment of the write; COUNT says at which such moment to die, from 1.
"""

import os
import pathlib
import signal
import sys

import numpy as np

KINDS = {"arrays": ".npz", "record": ".json", "manifest": "manifest.json"}
"""What is written, in this order, to how the file names end."""

SPOTS = (
    *(f"{moment} the {kind}" for kind in KINDS for moment in ("half of", "all of", "renamed")),
    "first of the old ones removed",
    "second of the old ones removed",
)
"""Half or all of the temporary file is written; it is renamed; old files are removed."""


def kill_this_process():
    os.kill(os.getpid(), signal.SIGKILL)


class Death:
    """Kills the process when the writes of checkpoints pass the spot for the `count`-th time.

    Args:
        spot: one of `SPOTS`.
        count: int from 1.
        die: called then; default: sends SIGKILL.
    """

    def __init__(self, spot, count=1, die=kill_this_process):
        self._moment, _, self._kind = spot.rpartition(" the ")
        self._spot, self._remaining, self._die = spot, count, die
        self._removed = 0

    def arm(self, patch=setattr):
        """Wraps the functions that write and remove files.

        Args:
            patch: function of an object, a name and a value, such as pytest's monkeypatch.setattr;
                default: `setattr`.
        """
        savez, replace = np.savez, os.replace
        write_bytes, unlink = pathlib.Path.write_bytes, pathlib.Path.unlink

        def dying_savez(path, **arrays):
            savez(path, **arrays)
            if self._is_here("half of", path):
                os.truncate(path, os.path.getsize(path) // 2)
                self._die()

        def dying_write(path, content):
            here = self._is_here("half of", path)
            result = write_bytes(path, content[: len(content) // 2] if here else content)
            if here:
                self._die()
            return result

        def dying_replace(source, target):
            if self._is_here("all of", target):
                self._die()
            replace(source, target)
            if self._is_here("renamed", target):
                self._die()

        def dying_unlink(path, missing_ok=False):
            unlink(path, missing_ok=missing_ok)
            if path.name.startswith("epoch-"):
                self._removed += 1
                if (self._spot.partition(" ")[0], self._removed) in (("first", 1), ("second", 2)):
                    self._die()

        patch(np, "savez", dying_savez)
        patch(os, "replace", dying_replace)
        patch(pathlib.Path, "write_bytes", dying_write)
        patch(pathlib.Path, "unlink", dying_unlink)

    def _is_here(self, moment, path):
        name = os.path.basename(path)
        kind = next((kind for kind in reversed(KINDS) if name.endswith(KINDS[kind])), None)
        if (moment, kind) != (self._moment, self._kind) or "checkpoints" not in str(path):
            return False
        self._remaining -= 1
        return self._remaining == 0


if __name__ == "__main__":
    spot, count, *arguments = sys.argv[1:]
    Death(spot, int(count)).arm()
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
    from cl_keras.cli import main

    sys.exit(main.main(arguments))
