"""All that a compiled model keeps, as NumPy arrays, and back."""

import numpy as np


def values_of(model):
    """All variables of a compiled model, its optimizer and metrics, as arrays by their index.

    Under a strategy this is what the first replica here holds, and no other process is asked: all
    replicas hold the same.
    """
    return {name: _copies(variable)[0].numpy() for name, variable in _variables(model).items()}


def check_finite(model):
    """Checks that all weights are finite; the loss would show it only a step later.

    Raises:
        FloatingPointError: if one is not finite.
    """
    for variable in model.trainable_variables:
        if not np.isfinite(_copies(variable)[0].numpy()).all():
            raise FloatingPointError(
                f"After step {int(model.step.numpy())} the weights {variable.path} are no longer "
                "finite, so they are not saved; the last checkpoint is as it was. Usual causes: a "
                "learning rate that is too high or has no warm-up, or a temperature that is too "
                "low."
            )


def assign(model, path):
    """Gives a compiled model and its optimizer what `np.savez(path, **values_of(model))` wrote.

    Raises:
        ValueError: if it is of another model.
    """
    variables = _variables(model)
    with np.load(path, allow_pickle=False) as saved:
        shapes = {name: saved[name].shape for name in saved.files}
        if shapes != {name: tuple(v.shape) for name, v in variables.items()}:
            raise ValueError(
                f"The checkpoint {path} holds {len(shapes)} variables, but not those of this model "
                f"({len(variables)}). It was made by another model or version."
            )
        for name, variable in variables.items():
            value = saved[name]
            # NumPy's files know no bfloat16: its bits come back as void.
            value = value.view(variable.dtype) if value.dtype.kind == "V" else value
            for copy in _copies(variable):
                copy.assign(value)


def _variables(model):
    """The variables by their index.

    Their names will not do: Keras counts models of one class, and names the second differently.
    """
    with model.distribute_strategy.scope():
        model.optimizer.build(model.trainable_variables)
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    variables = [*model.variables, *model.optimizer.variables, *metrics]
    return {f"{i:05d}": variable for i, variable in enumerate(variables)}


def _copies(variable):
    """The `tf.Variable` of each replica in this process.

    Those of metrics are summed over all replicas when they are read as a whole, and that is not
    what a replica continues from.
    """
    return getattr(variable.value, "values", [variable.value])
