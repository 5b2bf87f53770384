"""The plan of a run, with the model, the data and the expected time."""

import dataclasses

from cl_keras.data.summary import Summary
from cl_keras.pretraining.machine import Machine
from cl_keras.recipes.config import Config

FEW_EPOCHS = 5


@dataclasses.dataclass(frozen=True)
class Plan:
    """The plan that is printed before a run begins.

    Attributes:
        config: the resolved configuration.
        summary: summary of the images.
        machine: the machine to train on.
        parameters: number of parameters of the encoder.
        views: the object that makes views.
        steps: number of steps of the run.
        minutes: expected duration of the whole command, up to the verdict; None if unknown.
    """

    config: Config
    summary: Summary
    machine: Machine
    parameters: int
    views: object
    steps: int
    minutes: float | None

    def __str__(self):
        config = self.config
        rows = [
            ("images", str(self.summary).replace("\n", "\n" + " " * 12)),
            ("machine", str(self.machine)),
            ("encoder", self._encoder()),
            ("method", f"{config.method}, recipe {config.preset!r}{self._options()}"),
            ("views", _described(self.views)),
            (
                "training",
                f"{config.epochs} epochs of {self.steps // config.epochs} steps with "
                f"{config.batch_size} images each; {config.optimizer}, learning rate "
                f"{config.learning_rate:.3g}, {config.schedule}; {config.precision}",
            ),
        ]
        if self.minutes is not None:
            rows.append(("time", f"about {in_words(60 * self.minutes)}"))
        lines = [f"  {name:8}  {text}" for name, text in rows]
        return "\n".join(["The plan:", *lines, *self._warnings()])

    def _encoder(self):
        size, channels = self.config.image_size, self.config.channels
        kind = "gray" if channels == 1 else "color"
        at = f"on {kind} images of {size} × {size} pixels" if size else f"on {kind} images"
        init = self.config.init
        begin = "" if init in (None, "none") else f", starting from the weights of {init}"
        return f"{self.config.encoder}, {self.parameters / 1e6:.2g} M parameters, {at}{begin}"

    def _options(self):
        options = dict(self.config.method_options)
        if self.config.temperature is not None:
            options["temperature"] = self.config.temperature
        return "".join(f", {name} {value}" for name, value in options.items())

    def _warnings(self):
        if self.minutes is not None and self.config.epochs < FEW_EPOCHS and self.config.minutes:
            yield (
                f"  note      only {self.config.epochs} passes over the images fit into "
                f"{self.config.minutes:g} minutes; more --minutes or a smaller --image_size help."
            )


def _described(views):
    """A line for each kind of view, with the settings that have an effect."""
    config = views.get_config() if hasattr(views, "get_config") else {}
    each = config.pop("views", None) or [config]
    kinds = [_settings(view) for view in each if isinstance(view, dict)]
    lines = [f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds)]
    return ("\n" + " " * 12).join(lines) or type(views).__name__


def _settings(view):
    shown = {name: value for name, value in view.items() if value not in (0, None)}
    for effect in ("blur", "color", "solarize", "grayscale"):
        if not view.get(f"{effect}_probability", 1):
            shown = {name: value for name, value in shown.items() if not name.startswith(effect)}
    return ", ".join(f"{name} {_short(value)}" for name, value in shown.items())


def _short(value):
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, tuple | list):
        return f"({', '.join(_short(one) for one in value)})"
    return str(value)


def in_words(seconds: float) -> str:
    """A readable duration: "40 seconds", "4.5 minutes", "12 minutes", "3.5 hours"."""
    if seconds < 90:
        return f"{max(1, round(seconds))} seconds"
    if seconds < 10 * 60:
        return f"{seconds / 60:.1f} minutes"
    if seconds < 90 * 60:
        return f"{round(seconds / 60)} minutes"
    return f"{seconds / 3600:.1f} hours"
