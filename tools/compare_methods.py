"""Trains all recipes for the bundled images, and prints a table of their metrics.

  TF_ENABLE_ONEDNN_OPTS=1 python tools/compare_methods.py --seeds 0 1 2

The recipes, `zoo/*_fashion_mnist_mini/recipe.flags`, share encoder, batch size and optimizer, and
take two to five minutes each. `--methods` selects some; `untrained` is the encoder before training.
Each line is printed as soon as its run ends.
"""

import argparse
import pathlib
import time

import cl_keras as cl
from cl_keras.cli.flags import read_file
from cl_keras.recipes import build
from cl_keras.recipes.config import Config

RECIPES = sorted(pathlib.Path(__file__).parents[1].glob("zoo/*_fashion_mnist_mini/recipe.flags"))
METRICS = ("knn", "perturbed_knn", "retrieval_top1")


def main():
    configs = {config.method: config for config in (read_file(path, Config) for path in RECIPES)}
    arguments = parse(["untrained", *configs])
    train = cl.data.load("fashion_mnist_mini")
    test = cl.data.load("fashion_mnist_mini/test")
    print("| method | seed | seconds | " + " | ".join(METRICS) + " | last loss |")
    print("|---" * (4 + len(METRICS)) + "|")
    for seed in arguments.seeds:
        for name in arguments.methods:
            config = configs.get(name, configs["simclr"])
            config = config.replace(seed=seed, epochs=arguments.epochs or config.epochs)
            config = build.resolve(config, len(train), train.image_shape)
            report(name, seed, *run(name, config, train, test))


def run(name, config, train, test):
    """Trains one method; returns the seconds, its metrics, and the loss of each epoch."""
    batches = train.batches(config.batch_size, seed=config.seed)
    model = build.make_model(config, train.image_shape, batches.steps_per_epoch)
    begin, losses = time.perf_counter(), []
    if name != "untrained":
        losses = model.fit(batches, epochs=config.epochs, verbose=0).history["loss"]
    seconds = time.perf_counter() - begin
    table = cl.evaluation.table({name: model.encoder}, train, test, linear=False, progress=False)
    return seconds, {metric.name: metric.value for metric in table[name]}, losses


def report(name, seed, seconds, row, losses):
    metrics = " | ".join(f"{100 * row[name]:.1f}" for name in METRICS)
    last = f"{losses[-1]:.3f}" if losses else "–"
    print(f"| {name} | {seed} | {seconds:.0f} | {metrics} | {last} |", flush=True)


def parse(methods):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, help="default: those of each recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods)
    return parser.parse_args()


if __name__ == "__main__":
    main()
