"""Speed of random views, vs. albumentations.

    sh tools/bench/peers.sh .peers
    python tools/bench/views.py --peers=.peers/bin/python --json=views.json

Each topic makes SimCLR's two views of each image, in turns: `32`, `96` and `224` from images in
memory that are as large as the views; `jpeg` two views of 224 pixels from JPEG files of 500 × 375,
each of which is read four times. Both sides get random images of the same size and number, and keep
no views. albumentations runs on one core, image by image; the ratio of CPU times does not depend on
the number of cores.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from alternating import Peer, measure, table, write_json

HERE = Path(__file__).parent
IMAGES = {"32": 512, "96": 128, "224": 32, "jpeg": 1024}
FILES = 256
GOALS = {"32": 0.125, "96": 0.6, "224": 0.59, "jpeg": 0.67}


def in_memory(size: int):
    """A call that makes views of images in memory, in a graph."""
    import tensorflow as tf

    import cl_keras as cl

    views, count = cl.views.simclr(size), IMAGES[str(size)]
    random = np.random.default_rng(0)
    images = tf.constant(random.integers(0, 256, [count, size, size, 3]).astype("uint8"))
    step = iter(range(10**9))

    @tf.function
    def run(step):
        return views(images, seed=0, step=step)

    return lambda: [np.asarray(view) for view in run(tf.constant(next(step), tf.int64))]


def of_files(folder: str):
    """A call that makes views of JPEG files: decoded and cropped on the host, then finished."""
    import tensorflow as tf

    import cl_keras as cl

    views = cl.views.simclr(224)
    source = cl.data.load(f"folder:{folder}", image_size=224, progress=False)
    # As in training, several epochs from one pipeline; it ends with them, so nothing is read ahead.
    epochs = IMAGES["jpeg"] // len(source)
    batches = source.batches(16).cut(views.cropper(seed=0)).repeat(epochs)
    finish = tf.function(lambda crops, step: views.finish(crops, seed=0, step=step))

    def run():
        for step, batch in enumerate(batches):
            for view in finish(batch["crops"], tf.constant(step, tf.int64)):
                np.asarray(view)  # waits for it; numpy() would copy it

    return run


def write_photographs(folder: str, count: int) -> None:
    """Writes smooth random images of 500 × 375 pixels, in files as large as photographs."""
    from PIL import Image

    random = np.random.default_rng(0)
    for i in range(count):
        coarse = Image.fromarray(random.integers(0, 256, [24, 32, 3]).astype("uint8"))
        smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC)).astype(int)
        noisy = np.clip(smooth + random.normal(0, 8, smooth.shape), 0, 255).astype("uint8")
        Image.fromarray(noisy).save(Path(folder, f"{i}.jpg"), quality=90)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--topics", default=",".join(IMAGES), help="of these, separated by commas")
    parser.add_argument("--peers", help="Python of an environment with albumentations")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", help="file for all results")
    options = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for topic in options.topics.split(","):
            if topic == "jpeg":
                write_photographs(folder, FILES)
            ours = of_files(folder) if topic == "jpeg" else in_memory(int(topic))
            contestants = {"ours": ours}
            case = f"{topic}:{IMAGES[topic]}:{folder}"
            if options.peers:
                peer = Peer(options.peers, str(HERE / "views_peers.py"), case)
                contestants["albumentations"] = peer
            results[topic] = measure(contestants, options.rounds)
            if options.peers:
                peer.close()
            print(table(topic, results[topic], {"albumentations": GOALS[topic]}))
            per_view = results[topic]["ours"]["median"] / (2 * IMAGES[topic])
            print(
                f"ours: {1e6 * per_view:.1f} µs per view, {1 / per_view:,.0f} per second\n",
                flush=True,
            )
    if options.json:
        write_json(options.json, results)


if __name__ == "__main__":
    main()
