"""Gradient descent with momentum, as the authors' code has it."""

import keras
import tensorflow as tf

CONVENTIONS = ("inside", "outside")


class Momentum(keras.optimizers.Optimizer):
    """The part that SGD and LARS share: from an update `u` of each tensor to its step.

        inside:   v ← μv + γu,   w ← w - v      Keras; SimCLR's own code
        outside:  v ← μv + u,    w ← w - γv     PyTorch: MoCo, SwAV, BYOL, Barlow Twins

    The two differ as soon as the learning rate γ changes. A subclass writes `direction`.

    Args:
        learning_rate: γ, a number or a schedule.
        momentum: μ, in [0, 1).
        weight_decay: λ, at least 0, part of the gradient.
        momentum_convention: `"inside"` or `"outside"`: where the learning rate is.
        nesterov: use the momentum of the step to come.
        **kwargs: as for `keras.optimizers.Optimizer`.

    Raises:
        ValueError: for a value out of its range.
    """

    def __init__(
        self, learning_rate, *, momentum, weight_decay, momentum_convention, nesterov, **kwargs
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

    def direction(self, gradient, weight):
        """The update `u` of a tensor, whose decay is `self.decay`."""
        raise NotImplementedError

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._buffers = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
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

    def get_config(self):
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "weight_decay": self.decay,
            "momentum_convention": self.momentum_convention,
            "nesterov": self.nesterov,
        }


@keras.saving.register_keras_serializable("cl_keras")
class SGD(Momentum):
    """SGD whose weight decay is L2: it is added to the gradient, and so passes the momentum.

        u = g + λw,   v ← μv + u,   w ← w - γv

    So do MoCo, InstDisc, PIRL and PCL, whose code is PyTorch's, to every tensor. The weight decay
    of `keras.optimizers.SGD` is decoupled from the gradient: with μ = 0.9 it is ten times weaker.

    Args:
        learning_rate: γ, a number or a schedule.
        momentum: μ, in [0, 1); default: 0.9.
        weight_decay: λ, at least 0; default: 0.
        decays_vectors: whether tensors of rank ≤ 1 (biases, normalization) decay too; default:
            True, as the authors do.
        momentum_convention: `"inside"` or `"outside"`; see `Momentum`. Default: `"outside"`.
        nesterov: use the momentum of the step to come; default: False.
        **kwargs: as for `keras.optimizers.Optimizer`.

    Raises:
        ValueError: for a value out of its range.
    """

    def __init__(
        self,
        learning_rate=0.03,
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

    def direction(self, gradient, weight):
        decays = self.decay and (self.decays_vectors or len(weight.shape) > 1)
        return gradient + self.decay * weight if decays else gradient

    def get_config(self):
        return {**super().get_config(), "decays_vectors": self.decays_vectors}
