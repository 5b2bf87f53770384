"""Checks the contents of the wheel, and that it works when installed outside the repository.

The wheel is built from a copy of the sources, installed in a fresh virtual environment in a
temporary folder, and used there, with the dependencies of the environment that runs this script.

    python tools/check_wheel.py
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from email.parser import Parser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ["cl_keras", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"]
NEEDED = ["cl_keras/data/bundled/fashion_mnist_mini.npz"]
MAX_BYTES = 10_000_000

USE = """
import sys
import importlib.metadata
import numpy as np
import cl_keras as cl

assert cl.__file__.startswith(sys.prefix), f"imported from {cl.__file__}"
assert cl.__version__ == importlib.metadata.version("cl-keras")
source = cl.data.load("fashion_mnist_mini")
assert (len(source), tuple(source.image_shape)) == (10_000, (28, 28, 1)), source
encoder = cl.encoders.small_resnet(channels=1, width=0.25)
model = cl.SimCLR(encoder, views=cl.views.simclr(28, channels=1), temperature=0.2)
model.compile(optimizer="adam")
before = encoder.get_weights()
history = model.fit(source.images(np.arange(8)), batch_size=8, epochs=1, verbose=0)
assert np.isfinite(history.history["loss"]).all(), history.history
assert any((old != new).any() for old, new in zip(before, encoder.get_weights()))
"""


def main():
    with tempfile.TemporaryDirectory(prefix="check-wheel-") as folder:
        folder = Path(folder)
        wheel = build(folder)
        check_content(wheel)
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, content as expected")
        binaries = install(wheel, folder / "venv")
        use(binaries, folder)
        print("installed outside the repository: imports, loads the bundled images, trains a step")


def build(folder):
    """The wheel, built from a copy, since an old build folder would leak into it."""
    copy = folder / "sources"
    copy.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.pyc", ".DS_Store")
            shutil.copytree(source, copy / name, ignore=ignored)
        else:
            shutil.copy(source, copy / name)
    run([sys.executable, *PIP, "wheel", "-qq", "--no-deps", "-w", folder, copy], folder)
    [wheel] = folder.glob("*.whl")
    return wheel


def check_content(wheel):
    """Requires all files of the package and no others, the licenses, and TensorFlow as an extra."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        fields = Parser().parsestr(archive.read(metadata).decode())
    in_wheel = {name for name in names if ".dist-info/" not in name}
    files = (path for path in (ROOT / "cl_keras").rglob("*") if path.is_file())
    relative = {path.relative_to(ROOT).as_posix() for path in files}
    in_source = {
        name for name in relative if "__pycache__/" not in name and not name.endswith(".DS_Store")
    }
    expect(in_source <= in_wheel, f"the wheel lacks {sorted(in_source - in_wheel)}")
    expect(in_wheel <= in_source, f"the wheel also has {sorted(in_wheel - in_source)}")
    expect(set(NEEDED) <= in_wheel, f"the wheel lacks {sorted(set(NEEDED) - in_wheel)}")
    licenses = {name.rpartition("/")[2] for name in names if "/licenses/" in name}
    expect({"LICENSE", "LICENSE-fashion-mnist"} <= licenses, f"licenses found: {sorted(licenses)}")
    hard = [need for need in fields.get_all("Requires-Dist") if "extra ==" not in need]
    tensorflow = [need for need in hard if re.match(r"tensorflow(-cpu)?\b(?!-)", need)]
    expect(not tensorflow, f"TensorFlow must be an extra: {tensorflow}")
    expect(bool(fields.get_payload().strip()), "the long description, README.md, is empty")
    size = wheel.stat().st_size
    expect(size < MAX_BYTES, f"the wheel has {size} bytes, more than {MAX_BYTES}")


def install(wheel, environment):
    """Installs only the wheel; returns the folder of its programs."""
    run([sys.executable, "-m", "venv", "--without-pip", environment], environment.parent)
    paths = {"base": str(environment), "platbase": str(environment)}
    binaries = Path(sysconfig.get_path("scripts", "venv", paths))
    pip = [sys.executable, *PIP, "--python", binaries / "python"]
    run([*pip, "install", "-qq", "--no-deps", wheel], environment.parent)
    # A .pth file makes the dependencies importable. The .pth files in the folders that it names are
    # not read, so that an editable installation of this package stays out of sight.
    lent = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    lending = Path(sysconfig.get_path("purelib", "venv", paths)) / "lent.pth"
    lending.write_text("\n".join(sorted(lent)))
    return binaries


def use(binaries, folder):
    """Imports, loads, trains and calls the command line from outside the repository."""
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    run([binaries / "python", "-c", USE], elsewhere)
    help_text = run([binaries / "cl-keras", "--help"], elsewhere)
    for command in ("pretrain", "evaluate", "embed", "export"):
        expect(command in help_text, f"cl-keras --help does not name {command}:\n{help_text}")


PIP = ["-m", "pip", "--disable-pip-version-check"]


def run(command, folder):
    """Runs a program without our PYTHON* variables; returns what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    command = [str(part) for part in command]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    expect(
        done.returncode == 0,
        f"{' '.join(command[:6])} exited with {done.returncode}:\n{done.stdout}{done.stderr}",
    )
    return done.stdout


def expect(condition, complaint):
    if not condition:
        sys.exit(f"check_wheel: {complaint}")


if __name__ == "__main__":
    main()
