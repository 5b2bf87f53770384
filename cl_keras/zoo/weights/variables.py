"""Stable names for the variables of a model."""

from collections.abc import Mapping

import keras
import numpy as np

from cl_keras.training import PretextModel
from cl_keras.zoo.weights.tensors import Form


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """All variables of an encoder or a method, by names that are the same in every process.

    Within an encoder or head, the name is that of the layer, "stem_conv/kernel"; elsewhere it is
    the attribute that holds it, "momentum_encoder/head/dense_0/kernel", since Keras numbers layers
    of the same class in a process. Metrics and the optimizer are left out.
    """
    found: dict[str, keras.Variable] = {}
    _collect(model, "", found, set())
    return found


def values(model: keras.Model) -> dict[str, np.ndarray]:
    """The values of `named_variables`, as arrays."""
    return {name: variable.numpy() for name, variable in named_variables(model).items()}


def forms(model: keras.Model) -> dict[str, Form]:
    """Shape and dtype of `named_variables`."""
    return {name: (tuple(v.shape), v.dtype) for name, v in named_variables(model).items()}


def assign(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Sets all `named_variables` of a model."""
    found = named_variables(model)
    if different := sorted(set(found) ^ set(arrays)):
        raise ValueError(f"The variables of {model.name!r} differ in {', '.join(different[:8])}.")
    for name, variable in found.items():
        variable.assign(arrays[name])


def _collect(layer, prefix, found, seen):
    children = dict(_children(layer))
    below = {id(v) for child in children.values() for v in child.variables}
    for variable in layer.variables:
        if id(variable) not in below | seen:
            name = prefix + variable.name
            if name in found:
                raise ValueError(f"Two variables have the name {name!r}.")
            found[name] = variable
            seen.add(id(variable))
    for name, child in children.items():
        _collect(child, f"{prefix}{name}/", found, seen)


def _children(layer):
    """(name, layer) for each layer directly in this one."""
    if isinstance(layer, keras.Model) and not isinstance(layer, PretextModel):
        for child in layer.layers:
            yield child.name, child
        return
    for name, value in vars(layer).items():
        if name.startswith("_"):
            continue
        if isinstance(value, keras.layers.Layer):
            yield name, value
        elif isinstance(value, list | tuple):
            for i, item in enumerate(value):
                if isinstance(item, keras.layers.Layer):
                    yield f"{name}_{i}", item
