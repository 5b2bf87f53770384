"""Learning rates: how high for a batch, and how they move."""

import keras


def warmup_cosine(peak, *, warmup_steps, steps, final=0.0):
    """A linear rise from 0 to `peak`, then half a cosine to `final` (Loshchilov & Hutter 2017).

    Args:
        peak: highest learning rate, reached after `warmup_steps`.
        warmup_steps: length of the rise; 0 for none.
        steps: length of the whole, the rise included.
        final: learning rate at the end and after it.

    Returns:
        A `keras.optimizers.schedules.LearningRateSchedule`.

    Raises:
        ValueError: if the rise is longer than the whole.
    """
    if not 0 <= warmup_steps < steps:
        raise ValueError(
            "warmup_steps must be at least 0 and below steps, which counts the whole schedule; "
            f"received warmup_steps={warmup_steps}, steps={steps}."
        )
    cosine = keras.optimizers.schedules.CosineDecay
    if warmup_steps == 0:
        return cosine(peak, decay_steps=steps, alpha=final / peak)
    return cosine(
        0.0,
        decay_steps=steps - warmup_steps,
        alpha=final / peak,
        warmup_target=peak,
        warmup_steps=warmup_steps,
    )


def linear_scaling(batch_size, base=0.3):
    """`base · B / 256` (Goyal et al. 2017); SimCLR's rule with LARS."""
    return base * batch_size / 256


def square_root_scaling(batch_size, base=0.075):
    """`base · √B`; SimCLR's rule for small batches and long runs."""
    return base * batch_size**0.5
