"""What `fit` costs over the bare encoder: views, loss, optimizer and bookkeeping.

  python tools/benchmark_fit.py --encoder resnet18 --image-size 32 --batch-size 128

Both are timed in turn in one process, so that a machine that drifts drifts for both: the bare
forward and backward pass of the encoder on two views of a batch, and a step of `SimCLR.fit`
on the same images. Prints the median of each, and of their ratio pair by pair, with the spread.
"""

import argparse
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

import cl_keras as cl


def main():
    arguments = parse()
    pixels = np.random.default_rng(0).integers(
        0, 256, [arguments.batch_size, arguments.image_size, arguments.image_size, 3], "uint8"
    )
    make = getattr(cl.encoders, arguments.encoder)
    encoder = make(image_size=arguments.image_size, channels=3)
    model = cl.SimCLR(encoder, views=cl.views.simclr(arguments.image_size), temperature=0.5)
    model.compile(keras.optimizers.SGD(0.01, momentum=0.9))
    bare, fitted = bare_step(model, pixels), FittedStep(model, pixels, arguments.steps)

    bare(), fitted()
    times = [(bare(), fitted()) for _ in range(arguments.pairs)]
    ratios = [with_fit / alone for alone, with_fit in times]
    print(
        f"{arguments.encoder}, {arguments.image_size} px, batch {arguments.batch_size}, "
        f"{arguments.pairs} pairs"
    )
    for name, values in (("bare", [t[0] for t in times]), ("fit", [t[1] for t in times])):
        print(f"{name:>5}: {spread([1000 * value for value in values], '.1f')} ms a step")
    print(f"ratio: {spread(ratios, '.3f')}")


def bare_step(model, pixels):
    """A function that times one forward and backward pass of the encoder."""
    views = tf.concat(model.views(pixels, seed=0, step=0), axis=0)
    variables = model.encoder.trainable_variables

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(model.encoder(views, training=True)))
        return tape.gradient(loss, variables)

    def timed():
        begin = time.perf_counter()
        step()[0].numpy()
        return time.perf_counter() - begin

    return timed


class FittedStep:
    """Times a step of `fit`: the mean over an epoch of `steps`."""

    def __init__(self, model, pixels, steps):
        self.model, self.steps = model, steps
        self.batches = tf.data.Dataset.from_tensors({"image": pixels}).repeat()

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
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=1, help="steps of fit in each pair")
    parser.add_argument("--pairs", type=int, default=7)
    return parser.parse_args()


if __name__ == "__main__":
    main()
