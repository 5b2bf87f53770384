import keras
import numpy as np
import pytest

from cl_keras import encoders
from cl_keras.zoo.weights import building, tensors, variables
from tests.conformance import descriptors
from tests.tiny import tiny_encoder


def packed(folder, model, change=lambda values: values):
    """An open file with the weights of a model."""
    tensors.write(folder / "a.safetensors", change(dict(variables.values(model))))
    return open(folder / "a.safetensors", "rb")


def altered(model, seed):
    """The model with distinct values in every variable."""
    generator = np.random.default_rng(seed)
    for variable in model.variables:
        variable.assign(generator.integers(1, 100, variable.shape).astype(variable.dtype))
    return model


def test_the_names_of_an_encoder_are_its_layers():
    names = list(variables.named_variables(tiny_encoder()))
    assert names[:2] == ["stem_conv/kernel", "stem_norm/gamma"]
    assert names == [variable.path for variable in tiny_encoder().variables]


@pytest.mark.parametrize("name", descriptors.OPTIONS)
def test_all_state_of_a_method_comes_back(name, tmp_path):
    model = altered(descriptors.make(name), 1)
    with packed(tmp_path, model) as stream:
        again = building.filled(lambda: descriptors.make(name), stream, "a.safetensors")
    assert len(variables.named_variables(model)) == len(model.variables)
    for received, expected in zip(again.variables, model.variables, strict=True):
        np.testing.assert_array_equal(received, expected, err_msg=expected.path)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda v: dict(list(v.items())[1:]), "lacks stem_conv/kernel"),
        (lambda v: v | {"more/kernel": np.zeros(3, "float32")}, "holds 'more/kernel', which"),
        (lambda v: v | {"stem_conv/kernel": v["stem_conv/kernel"][..., :-1]}, "should be float32"),
        (
            lambda v: v | {"stem_conv/kernel": v["stem_conv/kernel"].astype("float16")},
            "should be float32",
        ),
        (
            lambda v: v | {"stem_conv/kernel": np.moveaxis(v["stem_conv/kernel"], 3, 0).copy()},
            r"received float32 \[8, 3, 3, 1\]",
        ),
    ],
)
def test_a_file_of_another_model_is_refused(change, message, tmp_path):
    with packed(tmp_path, tiny_encoder(), change) as stream:
        with pytest.raises(ValueError, match=message):
            building.filled(tiny_encoder, stream, "a.safetensors")


def test_a_network_larger_than_its_file_is_never_built(tmp_path):
    """4.5 GB for a file of a few bytes: not even its graph is completed."""
    made = []

    def build():
        made.append(encoders.resnet50(width=7.0))
        return made[-1]

    with packed(tmp_path, tiny_encoder()) as stream:
        with pytest.raises(ValueError, match="requests more weights than its .* bytes hold"):
            building.filled(build, stream, "a.safetensors")
    assert made == []


def test_two_variables_with_the_same_name_are_an_error():
    class Twice(keras.layers.Layer):
        def build(self, shape):
            self.a = self.add_weight(name="a", shape=[2])
            self.b = self.add_weight(name="a", shape=[2])

        def call(self, x):
            return x

    layer = Twice()
    layer.build([None, 2])
    with pytest.raises(ValueError, match="Two variables have the name 'a'"):
        variables.named_variables(layer)


def test_bfloat16_is_not_written(tmp_path):
    encoder = tiny_encoder()
    half = {"a": np.asarray(encoder.variables[0]).astype("bfloat16")}
    with pytest.raises(ValueError, match="only plain numbers are supported"):
        tensors.write(tmp_path / "a.safetensors", half)


def make_encoder():
    inputs = keras.Input([2])
    return keras.Model(inputs, keras.layers.Dense(3, name="d")(inputs), name="tiny")


def test_every_variable_is_set():
    encoder = make_encoder()
    kernel, bias = np.arange(6.0).reshape(2, 3), np.arange(3.0)
    variables.assign(encoder, {"d/kernel": kernel, "d/bias": bias})
    np.testing.assert_array_equal(encoder(np.array([[1.0, 10.0]])), [[30, 42, 54]])


@pytest.mark.parametrize("names", [["d/kernel"], ["d/kernel", "d/bias", "d/more"]])
def test_missing_or_extra_variables_are_an_error(names):
    with pytest.raises(ValueError, match="The variables of 'tiny' differ in d/(bias|more)"):
        variables.assign(make_encoder(), {name: np.zeros(3) for name in names})
