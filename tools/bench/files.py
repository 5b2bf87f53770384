"""Speed of listing ten thousand small PNG files, and of an epoch of batches, vs. torchvision.

  python tools/bench/files.py --peers=PEERS/bin/python --json=files.json

The peer is `ImageFolder` with a `DataLoader` of one worker for each core.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from alternating import Peer, measure, table, write_json

HERE = Path(__file__).parent
FILES, SIZE, BATCH = 10_000, 32, 256


def write_files(folder: str, count: int) -> None:
    """Smooth random images in ten classes."""
    from PIL import Image

    random = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(random.integers(0, 256, [8, 8, 3]).astype("uint8"))
        path = Path(folder, str(i % 10), f"{i:05}.png")
        path.parent.mkdir(exist_ok=True)
        coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC).save(path)


def topics(folder: str) -> dict:
    """The work of the library."""
    import cl_keras as cl

    def load():
        return cl.data.load(f"folder:{folder}", image_size=SIZE, progress=False)

    source = load()

    def read():
        for batch in source.batches(BATCH):
            batch["image"]

    return {"load": load, "read": read}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peers", help="a Python that has torchvision")
    parser.add_argument("--files", type=int, default=FILES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="file for all results")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        write_files(folder, options.files)
        for topic, ours in topics(folder).items():
            contestants = {"cl_keras": ours}
            if options.peers:
                case = f"{topic}:{BATCH}:{folder}"
                peer = Peer(options.peers, str(HERE / "files_peers.py"), case)
                contestants["ImageFolder"] = peer
            results[topic] = measure(contestants, options.rounds)
            if options.peers:
                peer.close()
            goals = {"ImageFolder": 0.83} if topic == "read" else {}
            print(table(topic, results[topic], goals))
            rate = options.files / results[topic]["cl_keras"]["median"]
            print(f"cl_keras: {rate:,.0f} files a second\n", flush=True)
    if options.json:
        write_json(options.json, results)


if __name__ == "__main__":
    main()
