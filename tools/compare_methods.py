"""Trains every method alike on the bundled images, and prints a table of how well they did.

  TF_ENABLE_ONEDNN_OPTS=1 python tools/compare_methods.py --epochs 10 --seeds 0 1 2

The same encoder, batch size, optimizer, number of epochs and views for all; the options below are
what differs from a method's defaults, which are made for ImageNet. `--methods` picks some. A line
is printed as soon as a run has ended.
"""

import argparse
import time

import keras

import cl_keras as cl

SMALL = {
    "SimCLR": {"temperature": 0.2},
    "MoCo": {"queue_size": 4096, "momentum": 0.99},
    "MoCoV3": {"hidden_dim": 512, "output_dim": 128, "temperature": 0.2},
    "InstDisc": {"num_images": 10_000, "loss": "softmax", "temperature": 0.1},
    "PIRL": {"num_images": 10_000, "num_negatives": 2048},
    "SwAV": {"num_prototypes": 100, "frozen_steps": 78},
    "DeepCluster": {"num_images": 10_000, "num_clusters": 100},
    "PCL": {
        "num_images": 10_000,
        "num_clusters": (200, 400, 800),
        "warmup_epochs": 2,
        "queue_size": 4096,
        "momentum": 0.99,
    },
}
"""Options for 10,000 small images."""

OWN_VIEWS = ("InstDisc", "PIRL")
"""Methods that do not take two views of an image; all others have those of SimCLR."""

BATCH_SIZE = 128
MEASURES = ("knn", "disturbed_knn", "find_original")


def main():
    arguments = parse()
    train = cl.data.load("fashion_mnist_mini")
    test = cl.data.load("fashion_mnist_mini/test")
    print("| method | seed | seconds | " + " | ".join(MEASURES) + " | last loss |")
    print("|---" * (4 + len(MEASURES)) + "|")
    for seed in arguments.seeds:
        for name in arguments.methods:
            report(name, seed, *run(name, seed, arguments.epochs, train, test))


def run(name, seed, epochs, train, test):
    """Trains one method; seconds, the row of measures, and the losses of the epochs."""
    keras.utils.set_random_seed(seed)
    encoder = cl.encoders.small_resnet()
    begin, losses = time.perf_counter(), []
    if name != "untrained":
        model = make(name, encoder, seed, epochs, train)
        history = model.fit(train.batches(BATCH_SIZE, seed=seed), epochs=epochs, verbose=0)
        losses = history.history["loss"]
    seconds = time.perf_counter() - begin
    rows = cl.evaluation.table({name: encoder}, train, test, linear=False, progress=False)["rows"]
    return seconds, rows[0], losses


def make(name, encoder, seed, epochs, train):
    """The compiled method."""
    method = getattr(cl, name)
    make_views = method.default_views if name in OWN_VIEWS else cl.views.simclr
    model = method(encoder, views=make_views(28, channels=1), seed=seed, **SMALL[name])
    steps = epochs * (len(train) // BATCH_SIZE)
    schedule = cl.optimizers.warmup_cosine(3e-3, warmup_steps=20, steps=steps)
    model.compile(keras.optimizers.AdamW(schedule))
    return model


def report(name, seed, seconds, row, losses):
    figures = " | ".join(f"{100 * row[measure]:.1f}" for measure in MEASURES)
    last = f"{losses[-1]:.3f}" if losses else "–"
    print(f"| {name} | {seed} | {seconds:.0f} | {figures} | {last} |", flush=True)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", default=["untrained", *SMALL])
    return parser.parse_args()


if __name__ == "__main__":
    main()
