"""The complete state of a compiled model as NumPy arrays."""

import os

import keras
import numpy as np


def values_of(model: keras.Model) -> dict[str, np.ndarray]:
    """All variables of a compiled model, its optimizer and metrics, as arrays by their index.

    Under a strategy, these are the values of the first replica in this process, without asking
    other processes, since all replicas hold the same.
    """
    return {name: _copies(variable)[0].numpy() for name, variable in _variables(model).items()}


def check_finite(model: keras.Model) -> None:
    """Checks that all weights are finite; the loss would only show it one step later.

    Raises:
        FloatingPointError: if one is not finite.
    """
    for variable in model.trainable_variables:
        if not np.isfinite(_copies(variable)[0].numpy()).all():
            raise FloatingPointError(
                f"After step {int(model.step.numpy())} the weights {variable.path} are no longer "
                "finite, so they are not saved; the last checkpoint is unchanged. Usual causes: a "
                "learning rate that is too high or has no warm-up, or a temperature that is too "
                "low."
            )


def assign(model: keras.Model, path: str | os.PathLike) -> None:
    """Restores a compiled model and its optimizer from `np.savez(path, **values_of(model))`.

    Raises:
        ValueError: if it belongs to another model.
    """
    variables = _variables(model)
    with np.load(path, allow_pickle=False) as saved:
        shapes = {name: saved[name].shape for name in saved.files}
        if shapes != {name: tuple(v.shape) for name, v in variables.items()}:
            raise ValueError(
                f"The {len(shapes)} variables of the checkpoint {path} do not match the "
                f"{len(variables)} of this model. It comes from another model or version."
            )
        for name, variable in variables.items():
            value = saved[name]
            # NumPy's files do not support bfloat16, which is read as void.
            value = value.view(variable.dtype) if value.dtype.kind == "V" else value
            for copy in _copies(variable):
                copy.assign(value)


def _variables(model):
    """The variables by their index.

    Their names cannot be used, since Keras numbers models of the same class in a process.
    """
    with model.distribute_strategy.scope():
        model.optimizer.build(model.trainable_variables)
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    variables = [*model.variables, *model.optimizer.variables, *metrics]
    return {f"{i:05d}": variable for i, variable in enumerate(variables)}


def _copies(variable):
    """The `tf.Variable` of each replica in this process.

    Variables of metrics must be read separately: read as a whole, they are summed over replicas.
    """
    return getattr(variable.value, "values", [variable.value])
