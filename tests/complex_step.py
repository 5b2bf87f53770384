"""Gradients of NumPy functions to the last digit, as an oracle that needs no calculus."""

import numpy as np

STEP = 1e-30


def gradients(function, parameters):
    """∂f/∂p = Im f(p + i·h)/h for every element of every parameter (Squire & Trapp 1998).

    Args:
        function: of arrays to a scalar, made of operations that take complex numbers.
        parameters: list of float64 arrays.
    """
    found = []
    for which, parameter in enumerate(parameters):
        slope = np.zeros_like(parameter)
        for place in np.ndindex(parameter.shape):
            moved = [p.astype(complex) for p in parameters]
            moved[which][place] += 1j * STEP
            slope[place] = np.imag(function(*moved)) / STEP
        found.append(slope)
    return found
