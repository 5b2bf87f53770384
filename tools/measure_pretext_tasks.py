"""Trains the pretext tasks on a few bundled images, and prints what they learned, as a table.

    TF_ENABLE_ONEDNN_OPTS=1 python tools/measure_pretext_tasks.py --seeds 0 1 2

For each method and seed: the accuracy in the task itself, on test images, beside chance; and k-NN
on perturbed test images, beside the same encoder before training.
"""

import argparse
import math
import time

import keras

import cl_keras as cl

CHANCE = {
    cl.RelativePosition: lambda model, batch: 1 / 8,
    cl.Jigsaw: lambda model, batch: 1 / len(model.views.permutations),
    cl.DeepInfoMax: lambda model, batch: 1 / batch,
    cl.RotNet: lambda model, batch: 1 / 4,
    cl.CPC: lambda model, batch: 1 / (batch * model.views.grid**2),
}
"""Of guessing, where a batch has so many images."""


def main():
    arguments = parse()
    train = cl.data.Subset(cl.data.load("fashion_mnist_mini"), range(arguments.images))
    test = cl.data.load("fashion_mnist_mini/test")
    print("| method | seed | seconds | task | chance | k-NN, perturbed | untrained |")
    print("|---" * 7 + "|")
    methods = [method for method in CHANCE if method.__name__ in arguments.methods]
    for method, seed in ((method, seed) for method in methods for seed in arguments.seeds):
        model, recipe = build(method, train, arguments.epochs, seed)
        before = perturbed_knn(model, train, test)
        seconds = fit(model, train, recipe, seed)
        batches = test.batches(recipe.batch_size, shuffle=False, drop_remainder=True)
        task = model.evaluate(batches, verbose=0, return_dict=True)[method.accuracy_name]
        shares = task, CHANCE[method](model, recipe.batch_size)
        shares += perturbed_knn(model, train, test), before
        print_row(method.__name__, seed, seconds, *shares)


def build(method, train, epochs, seed):
    """The method on a small encoder, by its recipe for a CPU."""
    keras.utils.set_random_seed(seed)
    kind = {"image_size": 28, "channels": 1}
    recipe = method.recipe(images=len(train), epochs=epochs, preset="small", **kind)
    norm = "layer" if method is cl.CPC else "batch"
    encoder = cl.encoders.small_resnet(**kind, norm=norm, **recipe.encoder_options)
    model = method(encoder, views=recipe.views, seed=seed, **recipe.options)
    model.compile(recipe.optimizer)
    return model, recipe


def fit(model, source, recipe, seed):
    """Seconds of the training."""
    begin = time.perf_counter()
    batches = source.batches(recipe.batch_size, seed=seed)
    model.fit(batches, epochs=recipe.epochs, verbose=0)
    return time.perf_counter() - begin


def perturbed_knn(model, train, test):
    encoders, silent = {"": model.encoder}, {"linear": False, "also_k": None, "progress": False}
    found = cl.evaluation.table(encoders, train, test, **silent)[""]
    return {metric.name: metric.value for metric in found}["perturbed_knn"]


def print_row(name, seed, seconds, *shares):
    digits = [f"{100 * share:.{1 if share > 0.01 else 1 - math.floor(math.log10(100 * share))}f}"
              if share else "0" for share in shares]  # fmt: skip
    print(f"| {name} | {seed} | {seconds:.0f} | " + " | ".join(digits) + " |", flush=True)


def parse():
    names = [method.__name__ for method in CHANCE]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=names, default=names)
    return parser.parse_args()


if __name__ == "__main__":
    main()
