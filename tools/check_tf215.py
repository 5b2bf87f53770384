"""Checks that an exported encoder gives the same values in TensorFlow 2.15 with tensorflow-addons.

That is the last TensorFlow that tensorflow-addons can be imported with. The script creates a
virtual environment with both in a temporary folder (about 1.5 GB, one to five minutes; it needs the
package index and Python 3.9 to 3.11), runs itself there too, and compares the outputs with those of
the TensorFlow here.

    python tools/check_tf215.py export/photos/1
    python tools/check_tf215.py --python python3.10 export/photos/1
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

REQUIREMENTS = ["tensorflow-cpu==2.15.1", "tensorflow-addons==0.23.0"]
TOLERANCE = 1e-5
IMAGES = (5, 61, 48)
"""Number, height and width of the images; no encoder is made for this size, so they are resized."""


def main():
    arguments = parse_arguments()
    if arguments.save:
        save_outputs(arguments.version, arguments.save)
        return 0
    with tempfile.TemporaryDirectory(prefix="check-tf215-") as folder:
        python = make_environment(arguments.python, Path(folder) / "venv")
        saved = Path(folder) / "outputs.npz"
        command = [python, "-W", "ignore", __file__, "--save", saved, arguments.version]
        subprocess.run([str(part) for part in command], check=True)
        with np.load(saved, allow_pickle=False) as old:
            return compare(old, outputs(arguments.version))


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("version", type=Path, help="one version of an export, such as photos/1")
    parser.add_argument("--python", default="python3.11", help="Python 3.9 to 3.11 (%(default)s)")
    parser.add_argument("--save", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.version = arguments.version.resolve()
    if not (arguments.version / "saved_model.pb").is_file():
        parser.error(f"expected the folder of a SavedModel, such as photos/1: {arguments.version}")
    if shutil.which(arguments.python) is None:
        parser.error(f"no such Python: {arguments.python}; give one with --python")
    return arguments


def make_environment(python, path):
    """A virtual environment with the old TensorFlow; returns its Python."""
    print(f"Installing {' and '.join(REQUIREMENTS)}: one to five minutes.", flush=True)
    subprocess.run([python, "-m", "venv", str(path)], check=True)
    inside = path / "bin" / "python"
    subprocess.run([str(inside), "-m", "pip", "install", "-qq", *REQUIREMENTS], check=True)
    return inside


def save_outputs(version, file):
    """Runs in the old environment, where tensorflow-addons is imported first."""
    import tensorflow as tf
    import tensorflow_addons as tfa

    print(f"TensorFlow {tf.__version__} with tensorflow-addons {tfa.__version__}", flush=True)
    np.savez(file, **outputs(version))


def outputs(version):
    """Every float output of every signature, for the same random images each time.

    One of the files is truncated: its row must be NaN, and no other.
    """
    import tensorflow as tf

    signatures = tf.saved_model.load(str(version)).signatures
    channels = channels_of(signatures["serving_default"])
    shape = (*IMAGES, channels)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    png = [tf.io.encode_png(image) for image in images]
    jpeg = [tf.io.encode_jpeg(image) for image in images]
    cut = tf.strings.substr(jpeg[0], 0, tf.strings.length(jpeg[0]) // 2)
    inputs = {"images": tf.constant(images), "bytes": tf.stack([*png, cut, *jpeg])}
    found = {}
    for name, signature in signatures.items():
        wanted = signature.structured_input_signature[1]
        for key, value in signature(**{key: inputs[key] for key in wanted}).items():
            if value.dtype.is_floating:
                found[f"{name}.{key}"] = value.numpy()
    return found


def channels_of(signature):
    """3 or 1; the signature accepts only as many as its encoder takes."""
    import tensorflow as tf

    try:
        signature(images=tf.zeros([1, *IMAGES[1:], 3], tf.uint8))
    except tf.errors.InvalidArgumentError:
        return 1
    return 3


def compare(old, new):
    """Prints the largest difference of each output; returns the exit code."""
    worst = 0.0
    for name, value in new.items():
        same_rows = np.array_equal(np.isnan(value), np.isnan(old[name]))
        difference = float(np.nanmax(np.abs(value - old[name]))) if same_rows else np.inf
        worst = max(worst, difference)
        spread = f"values {np.nanmin(value):.4g} to {np.nanmax(value):.4g}"
        print(f"{name} {value.shape}: {spread}, largest difference {difference:.2g}")
    same = worst <= TOLERANCE
    print("Equal." if same else f"DIFFERENT by more than {TOLERANCE}.")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
