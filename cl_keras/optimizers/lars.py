"""Layer-wise adaptive rate scaling."""

import keras
import tensorflow as tf

from cl_keras.similarity import at_least_float32

CONVENTIONS = ("inside", "outside")


@keras.saving.register_keras_serializable("cl_keras")
class LARS(keras.optimizers.Optimizer):
    """LARS (You et al. 2017, "Large Batch Training of Convolutional Networks").

    For each weight tensor `w` with gradient `g`, learning rate `γ` and weight decay `λ`:

        trust = η‖w‖ / (‖g‖ + λ‖w‖)       1 where ‖w‖ or ‖g‖ is 0
        u     = trust · (g + λw)

    Momentum comes in two conventions, which differ as soon as the learning rate changes:

        inside:   v ← μv + γu,   w ← w - v      SimCLR's own code
        outside:  v ← μv + u,    w ← w - γv     BYOL, MoCo v3, Barlow Twins

    Tensors of rank ≤ 1 (biases, normalisation) take neither decay nor adaptation: `u = g`.

    NOTE: google-research/simclr divides by ‖g + λw‖ where the paper has ‖g‖ + λ‖w‖. The paper's
    form is used here; at λ = 1e-6 they do not differ in practice.

    Args:
        learning_rate: a number or a schedule.
        momentum: μ, in [0, 1).
        weight_decay: λ, at least 0. It is part of the gradient, not decoupled.
        trust_coefficient: η.
        momentum_convention: `"inside"` or `"outside"`: where the learning rate stands.
        nesterov: use the momentum of the step to come.

    Raises:
        ValueError: for a value out of its range.
    """

    def __init__(
        self,
        learning_rate=0.3,
        *,
        momentum=0.9,
        weight_decay=1e-6,
        trust_coefficient=1e-3,
        momentum_convention="inside",
        nesterov=False,
        name="lars",
        **kwargs,
    ):
        if momentum_convention not in CONVENTIONS:
            raise ValueError(
                f"momentum_convention must be one of {CONVENTIONS}; "
                f"received {momentum_convention!r}."
            )
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1); received {momentum!r}.")
        if weight_decay < 0 or trust_coefficient <= 0:
            raise ValueError(
                "weight_decay must be at least 0 and trust_coefficient above 0; received "
                f"weight_decay={weight_decay!r}, trust_coefficient={trust_coefficient!r}."
            )
        # Keras' own weight_decay is decoupled from the gradient; ours is part of it.
        super().__init__(learning_rate=learning_rate, name=name, **kwargs)
        self.momentum = momentum
        self.decay = weight_decay
        self.trust_coefficient = trust_coefficient
        self.momentum_convention = momentum_convention
        self.nesterov = nesterov

    def build(self, variables):
        if self.built:
            return
        super().build(variables)
        self._buffers = self.add_optimizer_variables(variables, "momentum")

    def update_step(self, gradient, variable, learning_rate):
        rate = tf.cast(learning_rate, variable.dtype)
        update = self._adapted(tf.cast(gradient, variable.dtype), variable)
        inside = self.momentum_convention == "inside"
        if inside:
            update = rate * update
        buffer = self._buffers[self._get_variable_index(variable)]
        velocity = self.momentum * buffer + update
        self.assign(buffer, velocity)
        if self.nesterov:
            velocity = self.momentum * velocity + update
        self.assign_sub(variable, velocity if inside else rate * velocity)

    def _adapted(self, gradient, variable):
        if len(variable.shape) <= 1:
            return gradient
        weight = tf.convert_to_tensor(variable)
        weight_norm = tf.norm(at_least_float32(weight))
        gradient_norm = tf.norm(at_least_float32(gradient))
        ratio = tf.math.divide_no_nan(weight_norm, gradient_norm + self.decay * weight_norm)
        both = (weight_norm > 0) & (gradient_norm > 0)
        trust = tf.where(both, self.trust_coefficient * ratio, 1.0)
        return tf.cast(trust, gradient.dtype) * (gradient + self.decay * weight)

    def get_config(self):
        config = super().get_config()
        return {
            **config,
            "momentum": self.momentum,
            "weight_decay": self.decay,
            "trust_coefficient": self.trust_coefficient,
            "momentum_convention": self.momentum_convention,
            "nesterov": self.nesterov,
        }
