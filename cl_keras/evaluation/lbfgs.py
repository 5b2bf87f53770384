"""Minimises a smooth convex function: L-BFGS with a backtracking line search."""

import collections
import dataclasses

import numpy as np

_HALVINGS = 20  # of a step, before the search gives up


@dataclasses.dataclass(frozen=True)
class Minimum:
    """Where `minimize` stopped.

    Attributes:
        point: float64 [n].
        evaluations: how often the function was evaluated.
        converged: whether the gradient fell below the tolerance.
    """

    point: np.ndarray
    evaluations: int
    converged: bool


def minimize(function, start, *, evaluations, tolerance=1e-5, memory=10):
    """Minimises `function` from `start` (Nocedal & Wright 2006, algorithm 7.5).

    Args:
        function: from a point float64 [n] to `(value, gradient [n])`.
        start: float64 [n].
        evaluations: the most calls of `function`.
        tolerance: stop when the largest entry of the gradient is below this.
        memory: how many past steps shape the next direction.

    Returns:
        `Minimum`: the best point seen. Where rounding leaves no descent, the search stops there.
    """
    point, past = start, collections.deque(maxlen=memory)
    value, gradient = function(point)
    used = 1
    while np.abs(gradient).max() > tolerance and used < evaluations:
        direction = _direction(gradient, past)
        size = 1.0 if past else min(1.0, 1.0 / np.abs(gradient).sum())
        allowed = min(_HALVINGS, evaluations - used)
        found, tried = _search(function, point, value, gradient, size * direction, allowed)
        used += tried
        if found is None:  # no descent left in this precision
            break
        new_point, value, new_gradient = found
        _remember(past, new_point - point, new_gradient - gradient)
        point, gradient = new_point, new_gradient
    return Minimum(point, used, bool(np.abs(gradient).max() <= tolerance))


def _search(function, point, value, gradient, step, allowed):
    """Halves the step until the value falls enough (Armijo): the new point, and the tries."""
    for tried in range(1, allowed + 1):
        new_value, new_gradient = function(point + step)
        if new_value < value and new_value <= value + 1e-4 * float(step @ gradient):
            return (point + step, new_value, new_gradient), tried
        step = step / 2
    return None, allowed


def _direction(gradient, past):
    """Minus the inverse Hessian estimate times the gradient: the two-loop recursion."""
    q, weights = gradient.copy(), []
    for step, change, curvature in reversed(past):
        weights.append(step @ q / curvature)
        q -= weights[-1] * change
    if past:
        _, change, curvature = past[-1]
        q *= curvature / (change @ change)
    for (step, change, curvature), weight in zip(past, reversed(weights), strict=True):
        q += (weight - change @ q / curvature) * step
    return -q


def _remember(past, step, change):
    """Adds a step and its change of gradient, where the function curves upwards between them."""
    curvature = float(step @ change)
    if curvature > 1e-10 * float(change @ change):
        past.append((step, change, curvature))
