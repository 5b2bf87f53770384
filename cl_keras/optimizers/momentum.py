"""Gradient descent with momentum, as in the authors' code."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

CONVENTIONS = ("inside", "outside")


class Momentum(keras.optimizers.Optimizer):
    """The part common to SGD and LARS, which turns an update `u` of each tensor into a step.

        inside:   v ← μv + γu,   w ← w - v      Keras; SimCLR's own code
        outside:  v ← μv + u,    w ← w - γv     PyTorch: MoCo, SwAV, BYOL, Barlow Twins

    The two differ if the learning rate γ changes. Subclasses implement `direction`.

    Args:
        learning_rate: γ, a number or a schedule.
        momentum: μ, in [0, 1).
        weight_decay: λ, at least 0, added to the gradient.
        momentum_convention: `"inside"` or `"outside"`, the place of the learning rate.
        nesterov: use Nesterov momentum.
        **kwargs: as for `keras.optimizers.Optimizer`.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(
        self,
        learning_rate: float | Callable,
        *,
        momentum: float,
        weight_decay: float,
        momentum_convention: str,
        nesterov: bool,
        **kwargs: Any,
    ):
        if momentum_convention not in CONVENTIONS:
            raise ValueError(
                f"momentum_convention must be one of {CONVENTIONS}; "
                f"received {momentum_convention!r}."
            )
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be in [0, 1); received {momentum!r}.")
        if weight_decay < 0:
            raise ValueError(f"weight_decay must be at least 0; received {weight_decay!r}.")
        # Keras' own weight_decay is decoupled from the gradient; ours is part of it.
        super().__init__(learning_rate=learning_rate, **kwargs)
        self.momentum = momentum
        self.decay = weight_decay
        self.momentum_convention = momentum_convention
        self.nesterov = nesterov

    def direction(self, gradient: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        """The update `u` of a tensor; the weight decay is `self.decay`."""
        raise NotImplementedError

    def build(self, variables: list[keras.Variable]) -> None:
        if self.built:
            return
        super().build(variables)
        self._buffers = self.add_optimizer_variables(variables, "momentum")

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        rate = tf.cast(learning_rate, variable.dtype)
        gradient, weight = tf.cast(gradient, variable.dtype), tf.convert_to_tensor(variable)
        update = self.direction(gradient, weight)
        inside = self.momentum_convention == "inside"
        if inside:
            update = rate * update
        buffer = self._buffers[self._get_variable_index(variable)]
        velocity = self.momentum * buffer + update
        self.assign(buffer, velocity)
        if self.nesterov:
            velocity = self.momentum * velocity + update
        self.assign_sub(variable, velocity if inside else rate * velocity)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "weight_decay": self.decay,
            "momentum_convention": self.momentum_convention,
            "nesterov": self.nesterov,
        }


@keras.saving.register_keras_serializable("cl_keras")
class SGD(Momentum):
    """SGD with L2 weight decay, which is added to the gradient before the momentum.

        u = g + λw,   v ← μv + u,   w ← w - γv

    This is the SGD of PyTorch, which MoCo, InstDisc, PIRL and PCL use, with decay of all tensors.
    The weight decay of `keras.optimizers.SGD` is decoupled from the gradient, and so ten times
    weaker with μ = 0.9.

    Args:
        learning_rate: γ, a number or a schedule; default: 0.03.
        momentum: μ, in [0, 1); default: 0.9.
        weight_decay: λ, at least 0; default: 0.
        decays_vectors: whether tensors of rank ≤ 1 (biases, normalization) decay too; default:
            True, as in the authors' code.
        momentum_convention: `"inside"` or `"outside"`; see `Momentum`; default: `"outside"`.
        nesterov: use Nesterov momentum; default: False.
        **kwargs: as for `keras.optimizers.Optimizer`.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(
        self,
        learning_rate: float | Callable = 0.03,
        *,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        decays_vectors: bool = True,
        momentum_convention: str = "outside",
        nesterov: bool = False,
        name: str = "sgd",
        **kwargs,
    ):
        super().__init__(
            learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            momentum_convention=momentum_convention,
            nesterov=nesterov,
            name=name,
            **kwargs,
        )
        self.decays_vectors = decays_vectors

    def direction(self, gradient: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        decays = self.decay and (self.decays_vectors or len(weight.shape) > 1)
        return gradient + self.decay * weight if decays else gradient

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "decays_vectors": self.decays_vectors}
