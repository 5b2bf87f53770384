"""Speed of reading ten thousand small PNG files, vs. torchvision.

  python tools/bench/files.py --peers=PEERS/bin/python --json=files.json

Topics: `load` lists the folder; `first_epoch` reads every file; `run` loads the folder and reads
ten epochs of shuffled batches. The peer is `ImageFolder` with a `DataLoader` that has one worker
per core.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from alternating import Peer, TimesItself, measure, table, write_json

HERE = Path(__file__).parent
FILES, SIZE, BATCH, EPOCHS = 10_000, 32, 256, 10
GOALS = {"first_epoch": 0.83, "run": 0.83}


def write_files(folder: str, count: int) -> None:
    """Writes smooth random images in ten classes."""
    from PIL import Image

    random = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(random.integers(0, 256, [8, 8, 3]).astype("uint8"))
        path = Path(folder, str(i % 10), f"{i:05}.png")
        path.parent.mkdir(exist_ok=True)
        coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path)


class FirstEpoch(TimesItself):
    """One epoch of a source that has not read any file."""

    def __init__(self, load):
        self.load = load

    def __call__(self) -> tuple[float, float]:
        source = self.load()
        begin, cpu_begin = time.perf_counter(), time.process_time()
        read(source, 1)
        return time.perf_counter() - begin, time.process_time() - cpu_begin


def read(source, epochs: int) -> None:
    """Reads shuffled batches, as training does."""
    batches = source.batches(BATCH)
    for batch in batches.from_epoch(0).take(epochs * batches.steps_per_epoch):
        batch["image"]


def topics(folder: str) -> dict:
    """The work of this library, by topic."""
    import cl_keras as cl

    def load():
        return cl.data.load(f"folder:{folder}", image_size=SIZE, progress=False)

    return {"load": load, "first_epoch": FirstEpoch(load), "run": lambda: read(load(), EPOCHS)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", help="Python of an environment with torchvision")
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="file for all results")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        write_files(folder, options.files)
        for topic, ours in topics(folder).items():
            contestants = {"cl_keras": ours}
            if options.peers:
                epochs = EPOCHS if topic == "run" else 1
                case = f"{topic}:{epochs}:{BATCH}:{folder}"
                peer = Peer(options.peers, str(HERE / "files_peers.py"), case)
                contestants["ImageFolder"] = peer
            results[topic] = measure(contestants, options.rounds)
            if options.peers:
                peer.close()
            goals = {"ImageFolder": GOALS[topic]} if topic in GOALS else {}
            print(table(topic, results[topic], goals))
            images = options.files * (EPOCHS if topic == "run" else 1)
            rate = images / results[topic]["cl_keras"]["median"]
            print(f"cl_keras: {rate:,.0f} images per second\n", flush=True)
    if options.json:
        write_json(options.json, results)


if __name__ == "__main__":
    main()
