"""All benchmarks on a CPU, compared with peers, in one command that takes about 15 minutes.

  sh tools/bench/peers.sh .peers
  python tools/bench/cpu.py --peers=.peers/bin/python --out=bench

Each section runs in its own process, with a time limit. Its results are in OUT/SECTION.json,
its tables in OUT/SECTION.txt, and all tables, with the machine and the versions, in OUT/tables.md.
Sections that have results are not measured again, so the command can be interrupted and repeated.
`--only` selects sections; `--tiny` tries all of them with small inputs.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))

STEP = ["--rounds=4", "--against", "torch.compile"]

SECTIONS = {
    "step_float32": (["step.py", "--precision=float32", *STEP], 300),
    "step_bfloat16": (["step.py", "--precision=bfloat16", *STEP], 300),
    "convolutions": (["convolutions.py", "--rounds=3"], 240),
    "views": (["views.py", "--rounds=9"], 180),
    "losses": (["losses.py", "--rounds=5"], 420),
    "losses_65536": (["losses.py", "--largest"], 400),
    "files": (["files.py"], 150),
    "start": (["start.py"], 240),
    "fit": (["fit.py"], 150),
    "demo": (["start.py", "--demo"], 420),
}
"""Section to its script with options, and its limit in seconds."""

TINY = {
    "step_float32": ["--size=16", "--batch=4", "--rounds=2"],
    "step_bfloat16": ["--size=16", "--batch=4", "--rounds=2"],
    "convolutions": ["--cases=2", "--rounds=2"],
    "views": ["--topics=32,jpeg", "--rounds=2"],
    "losses": ["--topics=sinkhorn", "--no_memory", "--rounds=2"],
    "losses_65536": ["--pairs=2048"],
    "files": ["--files=300", "--rounds=2"],
    "start": ["--rounds=2"],
    "fit": ["--image_size=16", "--batch_size=4", "--pairs=2"],
    "demo": [],
}
"""Section to the options that make it small."""

WITHOUT_PEERS = {"convolutions", "losses_65536", "start", "fit", "demo"}


def main():
    arguments = parse()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in arguments.only:
        results = out / f"{name}.json"
        if results.exists():
            print(f"{name}: results exist, skipped", flush=True)
            continue
        begin = time.monotonic()
        problem = run(name, arguments, results, out / f"{name}.txt")
        print(f"{name}: {problem or 'done'}, {time.monotonic() - begin:.0f} s", flush=True)
        failed += [name] if problem else []
    tables = summary(out, arguments.peers)
    (out / "tables.md").write_text(tables, encoding="utf-8")
    print(tables)
    return 1 if failed else 0


def run(name, arguments, results, tables):
    """Measures one section; returns what went wrong, or None."""
    (script, *options), limit = SECTIONS[name]
    unfinished = results.with_suffix(".unfinished")
    command = [sys.executable, str(HERE / script), *options, f"--json={unfinished}"]
    command += TINY[name] if arguments.tiny else []
    if arguments.peers and name not in WITHOUT_PEERS:
        command.append(f"--peers={arguments.peers}")
    with open(tables, "w", encoding="utf-8") as file:
        try:
            code = subprocess.run(
                command, stdout=file, timeout=limit, cwd=ROOT, env=environment()
            ).returncode
        except subprocess.TimeoutExpired:
            return f"not finished within {limit} s"
    if code:
        return f"exit code {code}"
    unfinished.replace(results)
    return None


def environment():
    quiet = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "1"}
    return {**os.environ, **quiet, "PYTHONPATH": str(ROOT)}


def versions_of(python: str) -> str:
    """Names and versions of the compared libraries in the environment of a Python."""
    code = (
        "from importlib.metadata import version\n"
        "for name in 'torch torchvision albumentations opencv-python-headless pillow'.split():\n"
        "    print(name, version(name), end=', ')"
    )
    done = subprocess.run([python, "-c", code], stdout=subprocess.PIPE, text=True)
    return done.stdout.rstrip(", ")


def summary(out: Path, peers: str | None) -> str:
    """The tables of all finished sections, preceded by the machine and the versions."""
    import alternating

    machine = alternating.machine()
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    parts = [
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']:.1f}, Python "
        f"{machine['python']}, {versions}; peers: {versions_of(peers) if peers else 'none'}; "
        f"{time.strftime('%Y-%m-%d')}"
    ]
    for name in SECTIONS:
        if (out / f"{name}.json").exists():
            text = (out / f"{name}.txt").read_text(encoding="utf-8").strip()
            parts.append(f"## {name}\n\n{text}")
    return "\n\n".join(parts) + "\n"


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="Python of the environment made by peers.sh")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--out", default="bench", help="folder for the results")
    parser.add_argument("--tiny", action="store_true", help="try every section with small inputs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
