"""The recipes of the zoo: the command line reads each, and builds the right model."""

import pathlib

import numpy as np
import pytest

from cl_keras import data, methods
from cl_keras.cli import demo
from cl_keras.cli.flags import read_file
from cl_keras.recipes import build
from cl_keras.recipes.config import Config

DEMO = "small_resnet_fashion_mnist_mini"

NOT_BUNDLED = {
    "tfds:fashion_mnist/train": ("fashion_mnist", [60_000, 28, 28, 1]),
    "folder:emoji/train": ("emoji", [6022, 32, 32, 3]),
    "pairs:emoji_pairs/train": ("emoji_pairs", [1500, 32, 32, 3]),
}
"""What the data of a recipe is called in its name, and its shape."""

RECIPES = sorted(pathlib.Path(__file__).parents[2].glob("zoo/*/recipe.flags"))


def test_every_method_has_a_recipe():
    found = {read_file(path, Config).method for path in RECIPES}
    # What SEED learns depends on its teacher.
    assert found == {name.lower() for name in methods.__all__} - {"seed"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.parent.name)
def test_a_recipe_builds_its_method_and_fits_its_data(path):
    config = read_file(path, Config)
    name, shape = NOT_BUNDLED.get(config.data, (config.data, None))
    source = data.load(np.zeros(shape, "uint8") if shape else name)
    config = build.resolve(config, len(source), source.image_shape)
    model = build.make_model(config, source.image_shape, 78)
    assert type(model).__name__.lower() == config.method
    assert path.parent.name.startswith(f"{config.method}_{config.encoder}_{name}")
    batches = source.batches(config.batch_size)
    if config.data.startswith("pairs:"):
        batches = batches.map(lambda element: element | {"other": element["image"]})
    model.check_data(batches)
    assert f"--flagfile=zoo/{path.parent.name}/recipe.flags" in path.read_text()


def test_the_demo_is_the_recipe_of_simclr():
    path = next(path for path in RECIPES if path.parent.name == f"simclr_{DEMO}")
    images, shape = 10_000, (28, 28, 1)
    expected, received = (
        build.resolve(config, images, shape).replace(preset="small")
        for config in (read_file(path, Config), demo.demo_config(seed=0))
    )
    assert received == expected
