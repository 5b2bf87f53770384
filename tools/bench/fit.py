"""Overhead of a method's `fit` over the encoder passes that it needs.

  python tools/bench/fit.py --method MoCo --encoder resnet18 --image_size 32 --batch_size 128

Both are timed in turns in one process, so that other load affects both: the bare passes on views of
a batch (two with gradient for SimCLR, one with and one without for MoCo), and a step of `fit` on
the same images: views, loss, queue or bank, optimizer and bookkeeping. Prints the median of each,
and of the ratios of the pairs, with the spread.
"""

import argparse
import statistics
import time

import alternating
import keras
import numpy as np
import tensorflow as tf

import cl_keras as cl

PASSES = {"SimCLR": (2, 0), "MoCo": (1, 1), "InstDisc": (1, 0), "SwAV": (2, 0)}
"""Number of views that pass through the encoder with gradient, and without."""

OPTIONS = {
    "SimCLR": {"temperature": 0.5},
    "MoCo": {"queue_size": 65_536},
    "InstDisc": {"num_images": 1_280_000, "num_negatives": 4096},
    "SwAV": {"num_prototypes": 3000, "queue_size": 3840},
}
"""Sizes as in the papers."""


def main():
    arguments = parse()
    size = arguments.image_size
    shape = [arguments.batch_size, size, size, 3]
    pixels = np.random.default_rng(0).integers(0, 256, shape, "uint8")
    encoder = getattr(cl.encoders, arguments.encoder)(image_size=size, channels=3)
    views = cl.views.inst_disc(size) if arguments.method == "InstDisc" else cl.views.simclr(size)
    model = getattr(cl, arguments.method)(encoder, views=views, **OPTIONS[arguments.method])
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    bare = bare_passes(model, pixels, *PASSES[arguments.method])
    fitted = FittedStep(model, pixels, arguments.steps)

    bare(), fitted()
    times = [(bare(), fitted()) for _ in range(arguments.pairs)]
    ratios = [with_fit / alone for alone, with_fit in times]
    print(
        f"{arguments.method}, {arguments.encoder}, {size} px, batch {arguments.batch_size}, "
        f"{arguments.pairs} pairs"
    )
    for name, values in (("bare", [t[0] for t in times]), ("fit", [t[1] for t in times])):
        print(f"{name:>5}: {spread([1000 * value for value in values], '.1f')} ms per step")
    print(f"ratio: {spread(ratios, '.3f')}")
    if arguments.json:
        alternating.write_json(arguments.json, {"ratios": ratios})


def bare_passes(model, pixels, with_gradient, without):
    """Returns a function that times the passes of the encoder."""
    views = cl.views.simclr(model.views.image_size)(pixels, seed=0, step=0)
    trained = tf.concat(views[:with_gradient], axis=0)
    variables = model.encoder.trainable_variables

    @tf.function
    def step():
        others = [model.encoder(view, training=True) for view in views[:without]]
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(model.encoder(trained, training=True)))
        return tape.gradient(loss, variables), others

    def timed():
        begin = time.perf_counter()
        step()[0][0].numpy()
        return time.perf_counter() - begin

    return timed


class FittedStep:
    """Times a step of `fit`, as the mean over an epoch of `steps`."""

    def __init__(self, model, pixels, steps):
        self.model, self.steps = model, steps
        element = {"image": pixels, "index": np.arange(len(pixels))}
        self.batches = tf.data.Dataset.from_tensors(element).repeat()

    def __call__(self):
        clock = Clock()
        self.model.fit(
            self.batches, steps_per_epoch=self.steps, epochs=1, verbose=0, callbacks=[clock]
        )
        return clock.seconds / self.steps


class Clock(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        self._begin = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        self.seconds = time.perf_counter() - self._begin


def spread(values, form):
    return f"{statistics.median(values):{form}} (from {min(values):{form}} to {max(values):{form}})"


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", choices=PASSES, default="SimCLR")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--image_size", type=int, default=32)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=1, help="steps of fit in each pair")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--json", help="file for all results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
