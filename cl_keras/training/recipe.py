"""Training recipes as data, and the rules that scale them.

A method holds its recipes by name in `recipes`; `PretextModel.recipe` scales one of them to a
number of images, a batch size and a number of epochs. A setting that depends on these is a rule,
such as `Epochs(1)`: the steps of one epoch.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras

from cl_keras import optimizers

SMALL_IMAGE = 64
"""Largest side in pixels for which a ResNet has the stem for small images."""

MOMENTUM = 0.9
MILESTONES = (0.6, 0.8)
"""When a step schedule divides the rate by ten, as shares of the run: 120 and 160 of 200 epochs."""

MAX_WARMUP_SHARE = 0.1
DEFAULT_MAX_BATCH = 256

MOCO_V1_VIEWS = {
    "crop_area": (0.2, 1.0),
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.4,
    "color_probability": 1.0,
    "blur_probability": 0.0,
}
"""The views of MoCo v1, and of PCL v1, which follows it."""


@dataclasses.dataclass(frozen=True)
class Scale:
    """What a recipe is scaled to.

    Attributes:
        images: number of images.
        batch_size: images per step.
        epochs: passes over the images.
    """

    images: int
    batch_size: int
    epochs: int

    @property
    def steps_per_epoch(self) -> int:
        """Steps of an epoch; an incomplete last batch is dropped."""
        return max(1, self.images // self.batch_size)


class Rule:
    """A setting that depends on the `Scale`."""

    def value(self, scale: Scale) -> int | float | list[int | float]:
        """The setting."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Epochs(Rule):
    """The steps of a number of epochs."""

    count: float

    def value(self, scale: Scale) -> int:
        return round(self.count * scale.steps_per_epoch)


@dataclasses.dataclass(frozen=True)
class ShareOfEpochs(Rule):
    """A share of all epochs, as a whole number of epochs, at least `least` and at most `most`."""

    share: float
    most: int
    least: int = 0

    def value(self, scale: Scale) -> int:
        return min(self.most, max(self.least, round(self.share * scale.epochs)))


@dataclasses.dataclass(frozen=True)
class AllSteps(Rule):
    """The number of steps of the whole run."""

    def value(self, scale: Scale) -> int:
        return scale.epochs * scale.steps_per_epoch


@dataclasses.dataclass(frozen=True)
class ShareOfImages(Rule):
    """A number of rows: a share of the images, at least `least` and at most `most`.

    Attributes:
        whole_batches: round down to a multiple of the batch size, as a queue needs.
        within_batch: at most the batch size.
    """

    share: float
    most: int
    least: int = 1
    whole_batches: bool = False
    within_batch: bool = False

    def value(self, scale: Scale) -> int:
        rows = min(self.most, max(self.least, int(self.share * scale.images)))
        if self.within_batch:
            rows = min(rows, scale.batch_size)
        if self.whole_batches:
            rows = max(1, rows // scale.batch_size) * scale.batch_size
        return rows


@dataclasses.dataclass(frozen=True)
class Each(Rule):
    """A list of settings, each with its own rule."""

    rules: tuple[ShareOfImages, ...]

    def value(self, scale: Scale) -> list:
        return [rule.value(scale) for rule in self.rules]


@dataclasses.dataclass(frozen=True)
class QueueBatches(Rule):
    """The rows of a queue of `count` batches; 0 if one batch already has `enough` rows."""

    count: int
    enough: int

    def value(self, scale: Scale) -> int:
        return 0 if scale.batch_size >= self.enough else self.count * scale.batch_size


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a method is trained.

    The peak of the learning rate for a batch of B images is
    `learning_rate · (B / rate_batch) ** rate_power`. The weight decay is that of the authors: L2
    added to the gradient, and so to the momentum (decoupled for adam, adamw and lamb).

    Attributes:
        origin: the paper or official code that the settings come from.
        batch_size: the authors' images per step.
        epochs: the authors' passes over their images.
        optimizer: `"sgd"`, `"lars"`, `"larc"` (SGD with LARC), `"adam"`, `"adamw"` or `"lamb"`.
        learning_rate: peak for a batch of `rate_batch`.
        rate_power: 1 for the linear rule, 0.5 for the square root, 0 for a constant.
        weight_decay: λ.
        lars_convention: whether LARS applies the rate `"inside"` or `"outside"` its momentum.
        schedule: `"cosine"`, `"steps"` (a tenth after 60 and 80 % of the epochs) or `"constant"`.
        warmup_epochs: epochs of linear warm-up; at most a tenth of a shorter run.
        warmup_start: share of the peak at which the warm-up begins.
        final_share: share of the peak at which the cosine ends.
        zero_init_residual: whether residual blocks start as the identity.
        encoder: builder in `cl_keras.encoders`; None: `resnet50`, or `resnet18` up to 64 pixels.
        options: arguments of the method that differ from its defaults, or rules for them.
        views: changes to the method's default views.
    """

    origin: str
    batch_size: int
    epochs: int
    optimizer: str
    learning_rate: float
    weight_decay: float
    rate_batch: int = 256
    rate_power: float = 1.0
    lars_convention: str = "inside"
    schedule: str = "cosine"
    warmup_epochs: float = 0.0
    warmup_start: float = 0.0
    final_share: float = 0.0
    zero_init_residual: bool = False
    encoder: str | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    views: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def scaled(
        self,
        *,
        images: int,
        batch_size: int | None = None,
        epochs: int | None = None,
        image_size: int,
    ) -> "ScaledRecipe":
        """The settings, scaled to a number of images.

        Args:
            images: number of images.
            batch_size: images per step; default: that of the recipe, at most 256 or `images`.
            epochs: passes over the images; default: as in the recipe.
            image_size: side of the images in pixels.
        """
        batch_size = batch_size or min(self.batch_size, DEFAULT_MAX_BATCH, images)
        epochs = epochs or self.epochs
        scale = Scale(images, batch_size, epochs)
        standard = "resnet18" if image_size <= SMALL_IMAGE else "resnet50"
        return ScaledRecipe(
            batch_size=batch_size,
            epochs=epochs,
            optimizer=self.optimizer,
            learning_rate=self.learning_rate * (batch_size / self.rate_batch) ** self.rate_power,
            weight_decay=self.weight_decay,
            lars_convention=self.lars_convention,
            schedule=self.schedule,
            warmup_epochs=min(self.warmup_epochs, MAX_WARMUP_SHARE * epochs),
            warmup_start=self.warmup_start,
            final_share=self.final_share,
            zero_init_residual=self.zero_init_residual,
            encoder=self.encoder or standard,
            method_options={
                name: option.value(scale) if isinstance(option, Rule) else option
                for name, option in self.options.items()
            },
            views=dict(self.views),
        )


@dataclasses.dataclass(frozen=True)
class ScaledRecipe:
    """A recipe scaled to a number of images, a batch size and epochs; fields as in `Recipe`.

    Attributes:
        learning_rate: the peak.
        method_options: arguments for the constructor of the method.
        views: changes to its default views.
    """

    batch_size: int
    epochs: int
    optimizer: str
    learning_rate: float
    weight_decay: float
    lars_convention: str
    schedule: str
    warmup_epochs: float
    warmup_start: float
    final_share: float
    zero_init_residual: bool
    encoder: str
    method_options: dict[str, Any]
    views: dict[str, Any]


class MethodRecipe(NamedTuple):
    """What `PretextModel.recipe` returns.

    Attributes:
        views: for the constructor of the method.
        options: more arguments of it.
        optimizer: with its schedule, for `compile`.
        encoder_options: arguments of a ResNet in `cl_keras.encoders`.
        batch_size: for `fit`.
        epochs: for `fit`.
    """

    views: Callable
    options: dict[str, Any]
    optimizer: keras.optimizers.Optimizer
    encoder_options: dict[str, Any]
    batch_size: int
    epochs: int


def small_recipe(
    *, epochs: int = 10, options: Mapping[str, Any], views: Mapping[str, Any] | None = None
) -> Recipe:
    """Settings for a few thousand images of about 28 to 64 pixels, on a CPU.

    They learned fastest on the bundled images, on two cores.
    """
    return Recipe(
        origin="measured on the bundled images",
        batch_size=128,
        epochs=epochs,
        optimizer="adamw",
        learning_rate=0.003,
        rate_batch=128,
        rate_power=0.5,
        weight_decay=0.004,
        warmup_epochs=0.25,
        encoder="small_resnet",
        options=options,
        views=views or {},
    )


def make_schedule(
    settings: Any, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The learning rate over the steps of a run.

    Args:
        settings: anything with the fields of `ScaledRecipe`.
        steps_per_epoch: number of steps of an epoch.

    Returns:
        A `keras.optimizers.schedules.LearningRateSchedule`.
    """
    steps = settings.epochs * steps_per_epoch
    warmup = min(round(settings.warmup_epochs * steps_per_epoch), steps - 1)
    peak = settings.learning_rate
    common = {"warmup_steps": warmup, "steps": steps, "start": peak * settings.warmup_start}
    if settings.schedule == "cosine":
        return optimizers.warmup_cosine(peak, final=peak * settings.final_share, **common)
    milestones = MILESTONES if settings.schedule == "steps" else ()
    return optimizers.warmup_step_decay(peak, milestones=milestones, **common)


def make_optimizer(settings: Any, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """The optimizer of a run, with its schedule.

    Args:
        settings: anything with the fields of `ScaledRecipe`, such as a resolved `Config`.
        steps_per_epoch: number of steps of an epoch.
    """
    schedule = make_schedule(settings, steps_per_epoch)
    decay, kind = settings.weight_decay, settings.optimizer
    if kind == "lars":
        return optimizers.LARS(
            schedule,
            momentum=MOMENTUM,
            weight_decay=decay,
            momentum_convention=settings.lars_convention,
        )
    if kind in ("larc", "sgd"):
        maker = optimizers.LARC if kind == "larc" else optimizers.SGD
        return maker(schedule, momentum=MOMENTUM, weight_decay=decay)
    makers = {
        "adam": keras.optimizers.Adam,
        "adamw": keras.optimizers.AdamW,
        "lamb": keras.optimizers.Lamb,
    }
    return makers[kind](schedule, weight_decay=decay)
