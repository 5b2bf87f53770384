"""Compares each method's published recipe with a table of what its authors did."""

import keras
import numpy as np
import pytest

from cl_keras import data, encoders, optimizers, views, zoo
from cl_keras.callbacks import Health
from cl_keras.recipes import build, signatures
from cl_keras.recipes.config import Config
from cl_keras.training.recipe import make_optimizer
from tests.quick import slow_but

IMAGENET = 1_281_167
TEACHER = "simclr_small_resnet_fashion_mnist"
KERAS_OPTIMIZERS = {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}

TABLE = {
    # method, preset: optimizer, rate at 256, at 4096, decay, schedule, warm-up epochs
    ("simclr", "published"): ("lars", 0.3, 4.8, 1e-6, "cosine", 10),
    ("moco", "v1"): ("sgd", 0.03, 0.48, 1e-4, "steps", 0),
    ("moco", "published"): ("sgd", 0.03, 0.48, 1e-4, "cosine", 0),
    ("pcl", "v1"): ("sgd", 0.03, 0.48, 1e-4, "steps", 0),
    ("pcl", "published"): ("sgd", 0.03, 0.48, 1e-4, "cosine", 0),
    ("mocov3", "published"): ("lars", 0.3, 4.8, 1.5e-6, "cosine", 10),
    ("instdisc", "published"): ("sgd", 0.03, 0.48, 1e-4, "steps", 0),
    ("seed", "published"): ("sgd", 0.03, 0.48, 1e-4, "cosine", 0),
    ("pirl", "published"): ("sgd", 0.03, 0.48, 1e-4, "cosine", 0),
    ("pirl", "mlp"): ("sgd", 0.03, 0.48, 1e-4, "cosine", 0),
    ("supcon", "published"): ("sgd", 0.125, 2.0, 1e-4, "cosine", 0),
    ("rotnet", "published"): ("sgd", 0.1, 0.1, 5e-4, "steps", 0),
    ("jigsaw", "published"): ("sgd", 0.01, 0.16, 5e-4, "steps", 0),
    ("relativeposition", "published"): ("sgd", 0.0025, 0.04, 0.0, "constant", 0),
    ("deepinfomax", "published"): ("adam", 1e-4, 1e-4, 0.0, "constant", 0),
    ("cpc", "published"): ("adam", 4e-4, 4e-4, 0.0, "constant", 0),
    ("twotower", "published"): ("adamw", 5e-4, 5e-4, 0.2, "cosine", 0.16),
    ("swav", "published"): ("larc", 0.6, 4.8, 1e-6, "cosine", 10),
    ("deepcluster", "published"): ("larc", 0.6, 4.8, 1e-6, "cosine", 10),
}


def teacher_of(method, channels=1):
    """For a method with a teacher: the teacher, and its name in a configuration."""
    if not signatures.takes(method, "teacher"):
        return None, None
    keras.utils.set_random_seed(1)
    return encoders.small_resnet(image_size=28, channels=channels), "a teacher"


def scaled(method, preset="published", images=IMAGENET, **options):
    cls = build.METHODS[method]
    return cls.scaled_recipe(preset=preset, images=images, image_size=224, **options)


def test_every_method_is_in_the_table_and_has_a_small_recipe():
    assert {method for method, _ in TABLE} == set(build.METHODS)
    assert all({"published", "small"} <= set(cls.recipes) for cls in build.METHODS.values())


@pytest.mark.parametrize("method, preset", TABLE)
def test_optimizer_and_rates_are_those_of_the_authors(method, preset):
    optimizer, at_256, at_4096, decay, schedule, warmup = TABLE[method, preset]
    small, large = (scaled(method, preset, batch_size=batch) for batch in (256, 4096))
    assert small.learning_rate == pytest.approx(at_256)
    assert large.learning_rate == pytest.approx(at_4096)
    for recipe in (small, large):
        assert (recipe.optimizer, recipe.weight_decay) == (optimizer, decay)
        assert (recipe.schedule, recipe.warmup_epochs) == (schedule, warmup)
        assert recipe.zero_init_residual == (method in ("simclr", "mocov3"))
    assert small.lars_convention == ("outside" if method == "mocov3" else "inside")


def test_settings_that_only_one_method_has():
    recipe = scaled("mocov3", batch_size=4096)
    assert recipe.method_options == {"momentum": 0.996, "momentum_steps": 1000 * 312}
    recipe = scaled("swav", batch_size=256)
    assert recipe.method_options == {
        "frozen_steps": 5004,
        "queue_size": 3840,
        "queue_from_step": 15 * 5004,
    }
    assert recipe.learning_rate * recipe.final_share == pytest.approx(0.0006)
    recipe = scaled("swav", batch_size=4096)
    assert recipe.method_options["queue_size"] == 0
    assert recipe.learning_rate * recipe.warmup_start == pytest.approx(0.3)
    assert recipe.learning_rate * recipe.final_share == pytest.approx(0.0048)
    recipe = scaled("pcl")
    assert recipe.method_options == {
        "num_clusters": [25_000, 50_000, 100_000],
        "warmup_epochs": 20,
        "queue_size": 16_384,
    }
    assert scaled("moco").method_options == {"queue_size": 65_536}
    assert scaled("instdisc").method_options == {"num_negatives": 4096}
    assert scaled("pirl", batch_size=1024).method_options == {"num_negatives": 32_000}


@pytest.mark.parametrize("method", ["moco", "pcl"])
def test_version_1_has_the_views_of_moco_v1(method):
    recipe = build.METHODS[method].recipe(images=1000, image_size=96, preset="v1")
    assert recipe.views.get_config() == views.moco_v1(96).get_config()
    assert recipe.options["head"] == "v1"


@pytest.mark.parametrize("method, preset", TABLE)
def test_the_optimizer_follows_the_schedule_of_the_authors(method, preset):
    name, peak, _, decay, schedule, warmup = TABLE[method, preset]
    recipe, steps_per_epoch = scaled(method, preset, batch_size=256, epochs=200), 10
    optimizer = make_optimizer(recipe, steps_per_epoch)
    kinds = {"sgd": optimizers.SGD, "lars": optimizers.LARS, "larc": optimizers.LARC}
    assert type(optimizer) is (kinds | KERAS_OPTIMIZERS)[name]
    config = optimizer.get_config()
    assert config["weight_decay"] == decay
    if name in kinds:
        assert config["momentum"] == 0.9
    if name == "lars":
        assert config["momentum_convention"] == recipe.lars_convention

    def expected(step):
        total, first = 200 * steps_per_epoch, round(warmup * steps_per_epoch)
        if step < first:
            start = recipe.warmup_start * peak
            return start + (peak - start) * step / first
        if schedule == "constant":
            return peak
        if schedule == "steps":
            return peak * 0.1 ** ((step >= 0.6 * total) + (step >= 0.8 * total))
        low = recipe.final_share * peak
        share = (step - first) / (total - first)
        return low + (peak - low) * (1 + np.cos(np.pi * share)) / 2

    rate = optimizer._learning_rate
    for step in (0, 3, 50, 99, 100, 700, 1199, 1200, 1599, 1600, 1999):
        assert float(rate(step)) == pytest.approx(expected(step), rel=1e-4, abs=1e-8), step


def test_warm_up_takes_no_more_than_a_tenth_of_a_short_run():
    assert scaled("simclr", epochs=20).warmup_epochs == 2


@pytest.mark.parametrize("method", build.METHODS)
@pytest.mark.parametrize("images", [300, 4000])
@pytest.mark.parametrize("preset", ["published", "small"])
def test_scaled_settings_fit_few_images(method, images, preset):
    recipe = scaled(method, preset, images=images)
    options = recipe.method_options
    assert recipe.batch_size <= images
    assert options.get("queue_size", 0) <= images or method == "swav"
    assert options.get("queue_size", 0) % recipe.batch_size == 0
    assert options.get("num_negatives", 0) <= images / 2
    clusters = options.get("num_clusters", 0)
    assert np.max(clusters) <= images / 8
    if preset == "small" and method == "swav":
        assert options["num_prototypes"] <= recipe.batch_size
        assert options["frozen_steps"] == images // recipe.batch_size


@pytest.mark.parametrize("method", build.METHODS)
def test_the_recipe_of_a_class_makes_a_model_that_can_be_trained(method):
    cls = build.METHODS[method]
    recipe = cls.recipe(images=64, image_size=16, channels=1, batch_size=8, preset="small")
    towers = [
        encoders.small_resnet(image_size=16, channels=1, **recipe.encoder_options)
        for _ in range(1 + signatures.takes(method, "other_encoder"))
    ]
    teacher, _ = teacher_of(method)
    taught = {} if teacher is None else {"teacher": teacher}
    model = cls(*towers, views=recipe.views, **recipe.options, **taught)
    model.compile(recipe.optimizer)
    images = np.random.default_rng(0).integers(0, 256, [64, 16, 16, 1]).astype("uint8")
    source = data.load(images, labels=np.arange(64) % 4)
    model.check_data(batches_for(method, source, recipe.batch_size))


def batches_for(method, source, batch_size):
    """The batches of a source; for two towers, each image is its own partner."""
    batches = source.batches(batch_size, seed=0)
    if not signatures.takes(method, "other_encoder"):
        return batches
    return batches.map(lambda element: element | {"other": element["image"]})


def losses_of(method, count, seed=0, doctor=None):
    """Losses of three epochs on some of the bundled images, with only the preset given."""
    source = data.Subset(data.load("fashion_mnist_mini"), range(count))
    # To an untrained teacher all images are alike: once the queue is full of its vectors, its codes
    # are nearly uniform, and their entropy is most of the loss.
    name = TEACHER if signatures.takes(method, "teacher") else None
    teacher = name and zoo.load(name)
    config = Config(
        data="fashion_mnist_mini", method=method, preset="small", epochs=3, teacher=name, seed=seed
    )
    config = build.resolve(config, count, source.image_shape)
    batches = batches_for(method, source, config.batch_size)
    keras.utils.set_random_seed(seed)
    steps = batches.steps_per_epoch
    model = build.make_model(config, source.image_shape, steps, teacher=teacher)
    callbacks = [] if doctor is None else [doctor]
    return model.fit(batches, epochs=3, callbacks=callbacks, verbose=0).history["loss"]


@pytest.mark.parametrize("method", slow_but(["simclr"], build.METHODS))
def test_three_epochs_of_the_small_recipe_reduce_the_loss(method):
    # Where keys wait in a queue, the loss means something once the random ones have left it.
    losses = losses_of(method, 2000 if "queue_size" in signatures.method_options(method) else 512)
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("method", build.METHODS)
@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.seeds) for n in (1, 2))])
def test_three_epochs_on_all_bundled_images_reduce_the_loss_and_are_healthy(seed, method):
    doctor = Health(data.load("fashion_mnist_mini"), say=lambda sentence: None)
    losses = losses_of(method, 10_000, seed, doctor)
    print(method, seed, [round(loss, 4) for loss in losses], doctor.findings)
    assert losses[0] > losses[1] > losses[2]
    assert [vital.step for vital in doctor.history][:3] == [20, 100, 160]
    assert doctor.findings == []
