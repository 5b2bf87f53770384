import dataclasses
import inspect

import numpy as np
import pytest

from cl_keras import encoders, methods
from cl_keras.recipes import build, signatures
from cl_keras.recipes.config import Config
from cl_keras.training import PretextModel

SHAPE = (28, 28, 1)


def test_the_parsed_signatures_are_the_real_ones():
    assert set(signatures.methods().values()) == set(methods.__all__)
    for name, cls in build.METHODS.items():
        method = getattr(methods, signatures.methods()[name])
        assert cls is method
        found = signatures.method_options(name)
        parameters = inspect.signature(method).parameters
        own = {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
        for option_name, parameter in own.items():
            if option_name in signatures.NOT_OPTIONS:
                assert option_name not in found
                continue
            default = parameter.default
            assert found[option_name].default == default or found[option_name].default is None
            assert found[option_name].help, f"{name}.{option_name} has no help"
        for argument in ("num_images", "other_encoder"):
            assert signatures.takes(name, argument) == (argument in parameters)
        assert "gradient_accumulation" in found
        assert method.__doc__.startswith(signatures.summary(name))


def test_every_help_text_ends_with_a_period():
    for field in dataclasses.fields(Config):
        assert field.metadata["help"].rstrip("'").endswith((".", "}")), field.name


@pytest.mark.parametrize(
    "values, message",
    [
        ({"method": "mocco"}, "Did you mean 'moco'?"),
        (
            {"epochs": 5, "warmup_epochs": 5},
            "warmup_epochs must be less than epochs; received 5 of 5",
        ),
        ({"method_options": {"queue": 1}}, "simclr has no option 'queue'"),
        ({"method": "moco", "method_options": {"queue_sise": 1}}, "Did you mean 'queue_size'?"),
        ({"method": "moco", "method_options": {"queue_size": "many"}}, "must be a whole number"),
        (
            {"method": "moco", "method_options": {"momentum": "slow"}},
            "momentum of moco must",
        ),
        ({"method": "swav", "temperature": 0}, "temperature must be above 0"),
        ({"batch_size": 1}, "batch_size must be at least 2"),
        ({"precision": "float"}, "Did you mean 'float32'?"),
    ],
)
def test_a_configuration_is_checked_whole(values, message):
    with pytest.raises(ValueError) as error:
        Config(data="fashion_mnist_mini", **values)
    assert message in str(error.value)


@pytest.mark.parametrize("method", build.METHODS)
@pytest.mark.parametrize("preset", ["published", "small"])
def test_a_resolved_configuration_is_complete_and_resolves_to_itself(method, preset):
    teacher = "a zoo entry" if method == "seed" else None
    config = Config(data="fashion_mnist_mini", method=method, preset=preset, teacher=teacher)
    resolved = build.resolve(config, 4000, SHAPE)
    open_ones = {name for name, value in vars(resolved).items() if value is None}
    free = {"test_data", "image_size", "channels", "head", "temperature", "init", "minutes"}
    free |= {"split", "teacher"}
    assert open_ones <= free
    assert build.resolve(resolved, 4000, SHAPE) == resolved
    assert Config.from_dict(resolved.to_dict()) == resolved


def test_given_options_win_over_the_recipe():
    config = Config(
        data="fashion_mnist_mini",
        method="moco",
        preset="v1",
        temperature=0.3,
        optimizer="adam",
        views={"hue": 0.0},
        method_options={"momentum": np.float64(0.9)},
    )
    resolved = build.resolve(config, 4000, SHAPE)
    assert (resolved.temperature, resolved.optimizer, resolved.head) == (0.3, "adam", "v1")
    assert resolved.method_options == {"momentum": 0.9, "queue_size": 1792}  # 7 · 256 ≤ 4000 / 2
    assert resolved.views["hue"] == 0.0 and resolved.views["brightness"] == 0.4


def test_a_preset_that_a_method_lacks_is_named():
    config = Config(data="fashion_mnist_mini", preset="publshed")
    with pytest.raises(ValueError, match="SimCLR has no recipe 'publshed'. Did you mean 'publ"):
        build.resolve(config, 4000, SHAPE)


def test_a_toy_method_without_recipes_says_so():
    class Toy(PretextModel):
        pass

    with pytest.raises(ValueError, match="Toy has no recipe 'published'. It has none."):
        Toy.scaled_recipe(images=10, image_size=8)


def test_a_method_has_the_normalization_that_it_needs():
    config = Config(data="fashion_mnist_mini", method="cpc", preset="small")
    config = build.resolve(config, 100, (28, 28, 1))
    layers = build.make_encoder(config, (28, 28, 1)).layers
    assert not any(isinstance(layer, encoders.BatchNormalization) for layer in layers)
    recipe = methods.CPC.recipe(images=100, image_size=28, channels=1, preset="small")
    assert recipe.encoder_options["norm"] == "layer"


def test_two_towers_share_an_architecture_but_not_weights_or_draws():
    config = Config(data="pairs:somewhere", method="twotower", preset="small", seed=3)
    config = build.resolve(config, 100, (16, 16, 1))
    model = build.make_model(config, (16, 16, 1), 1)
    first, second = model.encoder, model.other_encoder
    assert [v.path for v in first.variables] == [v.path for v in second.variables]
    assert np.abs(first.variables[0].numpy() - second.variables[0].numpy()).max() > 0
    expected = build.make_encoder(config, (16, 16, 1)).variables[0]
    np.testing.assert_array_equal(first.variables[0], expected)
    image = np.random.default_rng(0).integers(0, 256, [4, 16, 16, 1]).astype("uint8")
    batch = model.make_batch({"image": image, "other": image}, seed=0, step=0)
    assert batch["other"].shape == (4, 16, 16, 1)
    assert np.abs(batch["other"] - batch["views"][0]).max() > 1


def test_a_teacher_and_its_method_belong_together():
    assert Config(data="a", teacher="a zoo entry").default_method == "seed"
    for options in ({"method": "seed"}, {"method": "moco", "teacher": "a"}):
        with pytest.raises(ValueError, match="A teacher is for the method seed, which needs one"):
            Config(data="a", **options)


def test_test_images_are_given_or_held_out_but_not_both():
    with pytest.raises(ValueError, match="split holds out images in place of test_data"):
        Config(data="a", test_data="b", split=0.2)
