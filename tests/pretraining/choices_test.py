import dataclasses

import pytest

from cl_keras.data import Summary
from cl_keras.pretraining import choices
from cl_keras.pretraining.machine import Machine
from cl_keras.recipes.config import Config

LAPTOP = Machine(cores=2, memory=8.0, gpus=(), capability=None)
SERVER = Machine(cores=16, memory=128.0, gpus=("H100",), capability=(9, 0))
CLOTHES = Summary(
    num_images=10_000,
    sampled=256,
    widths=(28, 28, 28),
    heights=(28, 28, 28),
    aspect=(1.0, 1.0, 1.0),
    gray=True,
    classes={},
    unlabeled=0,
    skipped={},
)
PHOTOS = dataclasses.replace(
    CLOTHES, num_images=200_000, widths=(300, 640, 900), heights=(200, 480, 700), gray=False
)


def chosen(summary, machine, **given):
    return choices.choose(Config(data="folder:a", **given), summary, machine)


def test_small_gray_images_on_a_laptop():
    config = chosen(CLOTHES, LAPTOP)
    assert (config.image_size, config.channels, config.method) == (28, 1, "simclr")
    assert (config.preset, config.batch_size, config.minutes) == ("small", 128, 20.0)
    assert config.precision == "float32" and config.encoder is None


def test_photographs_are_shrunk_to_what_the_machine_can_train_on():
    config = chosen(PHOTOS, LAPTOP)
    assert (config.image_size, config.channels, config.preset) == (64, 3, "small")
    config = chosen(PHOTOS, SERVER)
    assert (config.image_size, config.preset, config.precision) == (
        *(224, "published"),
        "mixed_bfloat16",
    )


def test_given_options_stay():
    given = {
        "image_size": 40,
        "channels": 3,
        "preset": "published",
        "batch_size": 16,
        "epochs": 7,
        "precision": "float32",
        "encoder": "resnet50",
    }
    config = chosen(CLOTHES, SERVER, **given)
    assert {name: getattr(config, name) for name in given} == given
    assert config.minutes is None


def test_a_named_method_has_the_recipe_of_its_authors():
    config = chosen(CLOTHES, LAPTOP, method="moco")
    assert (config.preset, config.batch_size, config.minutes) == ("published", None, None)


@pytest.mark.parametrize("images, batch", [(10, 8), (100, 8), (300, 32), (600, 64), (5000, 128)])
def test_an_epoch_has_several_steps(images, batch):
    assert choices.batch_size(images) == batch


@pytest.mark.parametrize(
    "capability, precision",
    [(None, "float32"), ((6, 1), "float32"), ((7, 5), "mixed_float16"), ((8, 0), "mixed_bfloat16")],
)
def test_half_precision_if_the_gpu_is_fast_with_it(capability, precision):
    assert dataclasses.replace(SERVER, capability=capability).precision == precision


@pytest.mark.parametrize(
    "images, given, share",
    [
        (10_000, {}, 0.2),
        (100_000, {}, 0.05),  # 5,000 images tell enough
        (99, {}, 0.0),
        (10_000, {"split": 0.3}, 0.3),
        (10_000, {"test_data": "folder:b"}, 0.0),
        (10_000, {"method": "moco"}, 0.0),
        (10_000, {"data": "tfds:cifar10/train"}, 0.0),
    ],
)
def test_images_are_held_out_by_default(images, given, share):
    summary = dataclasses.replace(CLOTHES, num_images=images)
    config = choices.choose(Config(**{"data": "folder:a"} | given), summary, LAPTOP)
    assert config.split == share


def test_with_a_teacher_the_method_is_distillation():
    config = chosen(CLOTHES, LAPTOP, teacher="a zoo entry")
    assert (config.method, config.preset) == ("seed", "small")


@pytest.mark.parametrize(
    "size, epochs, given, expected",
    [
        (64, 5, {}, 32),  # 50,000 images pass
        (64, 10, {}, None),
        (224, 5, {}, 112),
        (48, 5, {}, None),
        (64, 5, {"image_size": 64}, None),
        (64, 5, {"epochs": 5}, None),
    ],
)
def test_images_are_shrunk_if_time_allows_only_few(size, epochs, given, expected):
    given = Config(data="folder:a", **given)
    planned = given.replace(image_size=size, epochs=epochs, images=10_000, minutes=4)
    assert choices.smaller_size(given, planned) == expected
