"""Trains the pretext tasks on a few bundled images, and prints tables of their metrics.

    TF_ENABLE_ONEDNN_OPTS=1 python tools/measure_pretext_tasks.py tasks --seeds 0 1 2
    TF_ENABLE_ONEDNN_OPTS=1 python tools/measure_pretext_tasks.py labels --epochs 6

`tasks`: the accuracy in the task itself on test images, compared with chance, and k-NN on clean and
perturbed test images, compared with the encoder before training. `labels`: SupCon with the labels
of a tenth of its images, compared with SimCLR, by a linear probe with the same labels on the
features of each; `--repeats 9` shows both methods the labeled images nine times per epoch. Each
line is printed as soon as its run ends, and the mean after the last seed of a method.
"""

import argparse
import time

import keras
import numpy as np

import cl_keras as cl

CHANCE = {
    cl.RotNet: lambda model, batch: 1 / 4,
    cl.RelativePosition: lambda model, batch: 1 / 8,
    cl.Jigsaw: lambda model, batch: 1 / len(model.views.permutations),
    cl.DeepInfoMax: lambda model, batch: 1 / batch,
    cl.CPC: lambda model, batch: 1 / (batch * model.views.grid**2),
}
"""Accuracy of guessing, from the model and the batch size."""

KIND = {"image_size": 28, "channels": 1}
LABELED = 0.1
"""Share of the images whose labels SupCon knows."""


def main():
    arguments = parse()
    train = cl.data.Subset(cl.data.load("fashion_mnist_mini"), range(arguments.images))
    test = cl.data.load("fashion_mnist_mini/test")
    measure, columns = TABLES[arguments.table]
    print("| method | seed | seconds | " + " | ".join(columns) + " |")
    print("|---" * (3 + len(columns)) + "|")
    rows: dict[str, list] = {}
    for name, seed, *row in measure(arguments, train, test):
        print_row(name, seed, *(f"{value:.{digits(value)}f}" for value in row))
        rows.setdefault(name, []).append(row)
        if len(rows[name]) == len(arguments.seeds):
            mean, spread = np.mean(rows[name], axis=0), np.std(rows[name], axis=0)
            print_row(name, "mean", *map(with_spread, mean, spread))


def tasks(arguments, train, test):
    """Accuracy in the task, chance, and k-NN before and after training."""
    methods = [method for method in CHANCE if method.__name__ in arguments.methods]
    for method, seed in ((method, seed) for method in methods for seed in arguments.seeds):
        model, recipe = build(method, train, arguments, seed)
        before = knn(model, train, test)
        seconds = fit(model, train, recipe, seed)
        batches = test.batches(recipe.batch_size, shuffle=False, drop_remainder=True)
        task = model.evaluate(batches, verbose=0, return_dict=True)[method.accuracy_name]
        after = knn(model, train, test)
        gains = [now - then for now, then in zip(after, before, strict=True)]
        chance = 100 * CHANCE[method](model, recipe.batch_size)
        yield method.__name__, seed, seconds, 100 * task, chance, *after, *gains


def labels(arguments, train, test):
    """A linear probe on few labels, and k-NN, for SimCLR and SupCon."""
    images = train.images(range(len(train)))
    for seed in arguments.seeds:
        known = np.random.default_rng(seed).permutation(len(train)) < LABELED * len(train)
        often = np.repeat(np.arange(len(train)), np.where(known, arguments.repeats, 1))
        shown = cl.data.load(images[often], labels=np.where(known, train.labels, -1)[often])
        for method in (cl.SimCLR, cl.SupCon):
            # The same views and temperature, so that only the labels differ.
            model, recipe = build(method, shown, arguments, seed, cl.SupCon)
            seconds = fit(model, shown, recipe, seed)
            found = cl.evaluation.features(model, train, progress=False).rows(np.flatnonzero(known))
            tested = cl.evaluation.features(model, test, progress=False)
            linear = cl.evaluation.linear_probe(found, tested)["top1"]
            yield method.__name__, seed, seconds, 100 * linear, *knn(model, train, test)


TABLES = {
    "tasks": (tasks, ["task", "chance", "k-NN", "k-NN, perturbed", "gain", "gain, perturbed"]),
    "labels": (labels, ["linear", "k-NN", "k-NN, perturbed"]),
}


def build(method, train, arguments, seed, settings=None):
    """The method on a small encoder, with its own recipe or that of another method."""
    keras.utils.set_random_seed(seed)
    scale = {"images": len(train), "epochs": arguments.epochs, "batch_size": arguments.batch_size}
    recipe = (settings or method).recipe(preset="small", **scale, **KIND)
    encoder = cl.encoders.small_resnet(**KIND, **recipe.encoder_options)
    model = method(encoder, views=recipe.views, seed=seed, **recipe.options)
    model.compile(recipe.optimizer)
    return model, recipe


def fit(model, source, recipe, seed):
    """Trains the model; returns the seconds."""
    begin = time.perf_counter()
    batches = source.batches(recipe.batch_size, seed=seed)
    model.fit(batches, epochs=recipe.epochs, verbose=0)
    return time.perf_counter() - begin


def knn(model, train, test):
    """k-NN accuracy in percent, on clean and on perturbed test images."""
    encoders, silent = {"": model.encoder}, {"linear": False, "also_k": None, "progress": False}
    table = cl.evaluation.table(encoders, train, test, **silent)[""]
    found = {metric.name: 100 * metric.value for metric in table}
    return found["knn"], found["perturbed_knn"]


def print_row(*cells):
    print("| " + " | ".join(map(str, cells)) + " |", flush=True)


def digits(value):
    """Decimal places: one, or as many as a small number needs."""
    return 1 if value == 0 or abs(value) >= 1 else int(1 - np.floor(np.log10(abs(value))))


def with_spread(mean, spread):
    return f"{mean:.{digits(mean)}f}" + (f" ± {spread:.1f}" if spread else "")


def parse():
    names = [method.__name__ for method in CHANCE]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch_size", type=int, help="default: the recipe's")
    parser.add_argument("--repeats", type=int, default=1, help="of each labeled image in an epoch")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="+", choices=names, default=names)
    return parser.parse_args()


if __name__ == "__main__":
    main()
