"""Startup time of the command line and the import, vs. TensorFlow and Keras alone.

python tools/bench/start.py --json=start.json
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from alternating import Command, measure, table, write_json

ROOT = Path(__file__).parents[2]
CLI = "import sys; sys.argv[0] = 'cl-keras'; from cl_keras.cli.main import run; run()"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="file for all results")
    parser.add_argument("--demo", action="store_true", help="only the demo, once")
    options = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryDirectory() as folder:
        # All modules are compiled before, as `pip install` does.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        results = run(options)
    if options.json:
        write_json(options.json, results)


def run(options) -> dict:
    topics = {} if options.demo else startup(sys.executable)
    results = {topic: measure(each, options.rounds) for topic, each in topics.items()}
    for topic, each in results.items():
        print(table(topic, each, {"tensorflow, keras": 1.0}), end="\n\n")
    if options.demo:
        with tempfile.TemporaryDirectory() as folder:
            demo = Command(sys.executable, "-c", CLI, "demo", f"--run={folder}/demo")
            results["demo"] = measure({"demo": demo}, 1, warm=False)
        seconds = results["demo"]["demo"]
        print(f"cl-keras demo: {seconds['median']:.0f} s, {seconds['cpu']:.0f} s of CPU time")
    return results


def startup(python: str) -> dict:
    """The commands of each topic."""
    return {
        "help": {
            "cl-keras --help": Command(python, "-c", CLI, "--help"),
            "cl-keras pretrain --help": Command(python, "-c", CLI, "pretrain", "--help"),
            "python -c pass": Command(python, "-c", "pass"),
        },
        "import": {
            "cl_keras": Command(python, "-c", "import cl_keras"),
            "tensorflow, keras": Command(python, "-c", "import tensorflow, keras"),
        },
    }


if __name__ == "__main__":
    main()
