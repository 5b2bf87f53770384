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
    results = demo() if options.demo else startup(options.rounds)
    if options.json:
        write_json(options.json, results)


def startup(rounds: int) -> dict:
    """Measures the start of the command line, and the import."""
    python, results = sys.executable, {}
    topics = {
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
    with tempfile.TemporaryDirectory() as folder:
        # All modules are compiled in the first call, as `pip install` does.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = folder
        for topic, contestants in topics.items():
            results[topic] = measure(contestants, rounds)
            print(table(topic, results[topic], {"tensorflow, keras": 1.0}), end="\n\n")
    return results


def demo() -> dict:
    """Measures the whole demo, once."""
    with tempfile.TemporaryDirectory() as folder:
        command = Command(sys.executable, "-c", CLI, "demo", f"--run={folder}/demo")
        results = {"demo": measure({"demo": command}, 1, warm=False)}
    seconds = results["demo"]["demo"]
    print(f"cl-keras demo: {seconds['median']:.0f} s, {seconds['cpu']:.0f} s of CPU time")
    return results


if __name__ == "__main__":
    main()
