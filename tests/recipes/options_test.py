import dataclasses

import numpy as np
import pytest

from cl_keras.recipes.options import Options, option


@dataclasses.dataclass(frozen=True)
class Oven(Options):
    degrees: float = option(180.0, "Heat.", above=0, maximum=300)
    trays: int = option(1, "Trays.", minimum=1)
    mode: str = option("fan", "Mode.", choices=("fan", "grill"))
    timer: int | None = option(None, "Minutes.", minimum=1)
    light: bool = option(False, "Light.")
    notes: list[str] = option([], "Notes.")
    settings: dict = option({}, "More.")


def test_numpy_numbers_and_tuples_become_plain():
    oven = Oven(degrees=np.float32(0.5), trays=np.int64(2), settings={"a": (np.int32(1), 2.0)})
    assert oven == Oven(degrees=0.5, trays=2, settings={"a": [1, 2.0]})
    assert type(oven.degrees) is float and type(oven.trays) is int
    assert type(oven.settings["a"][0]) is int
    assert Oven(degrees=200).degrees == 200.0 and type(Oven(degrees=200).degrees) is float


@pytest.mark.parametrize(
    "values, message",
    [
        ({"degrees": 0}, "degrees must be above 0 and at most 300; received 0.0"),
        ({"degrees": 301}, "at most 300; received 301.0"),
        ({"degrees": float("nan")}, "degrees must be a number; received nan"),
        ({"degrees": "hot"}, "degrees must be a number; received 'hot'"),
        ({"trays": 1.5}, "trays must be a whole number; received 1.5"),
        ({"trays": True}, "trays must be a whole number; received True"),
        ({"trays": None}, "trays must be a whole number; received None"),
        ({"timer": 0}, "timer must be at least 1; received 0"),
        ({"light": 1}, "light must be true or false; received 1"),
        ({"mode": "gril"}, "one of fan, grill; received 'gril'. Did you mean 'grill'?"),
        ({"settings": [1]}, "settings must be an object of names and values"),
        ({"settings": {"a": {1, 2}}}, "can only hold finite numbers, text, lists"),
        ({"notes": "one"}, "notes must be a list"),
    ],
)
def test_an_invalid_value_is_named(values, message):
    with pytest.raises(ValueError) as error:
        Oven(**values)
    assert message in str(error.value)


def test_plain_values_and_back():
    oven = Oven(trays=3, timer=5, settings={"a": [1]}, notes=["x"])
    assert Oven.from_dict(oven.to_dict()) == oven
    assert Oven.from_dict({}) == Oven()
    with pytest.raises(ValueError, match="o.json has the unknown option 'tray'. Did you mean 'tra"):
        Oven.from_dict({"tray": 1}, "o.json")
    with pytest.raises(ValueError, match="o.json: trays must be at least 1"):
        Oven.from_dict({"trays": 0}, "o.json")
    with pytest.raises(ValueError, match="o.json must be an object"):
        Oven.from_dict([1], "o.json")


def test_defaults_are_not_shared():
    Oven().settings["a"] = 1
    assert Oven().settings == {}
