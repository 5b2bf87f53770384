"""The configuration of a run: the only definition of each option, its default, help and check.

The flags of `cl-keras pretrain`, a run's `config.json`, the cards of the zoo and `recipes.build`
all take their options from here. Importing it does not need TensorFlow.
"""

import dataclasses
from typing import Any

from cl_keras.bounds import MAX_IMAGE_SIZE
from cl_keras.recipes import signatures
from cl_keras.recipes.options import Options, as_plain, option
from cl_keras.spelling import did_you_mean

ENCODERS = ("resnet18", "resnet34", "resnet50", "small_resnet")
"""Builders of `cl_keras.encoders` that a configuration can name."""

OPTIMIZERS = ("sgd", "lars", "larc", "adam", "adamw", "lamb")
SCHEDULES = ("cosine", "steps", "constant")
DEFAULT_METHOD = "simclr"
TEACHER_METHOD = "seed"
"""The default method if a teacher is given."""

PRECISIONS = ("auto", "float32", "mixed_bfloat16", "mixed_float16")
CONVENTIONS = ("inside", "outside")


@dataclasses.dataclass(frozen=True)
class Config(Options):
    """Everything that determines the result of a run; see `option` for the fields.

    An option that is None is left to the recipe of the method: `build.resolve` fills it in, and the
    run's `config.json` holds the result. Two runs with the same resolved configuration are the
    same.
    """

    data: str = option(
        "",
        'The images: "folder:PATH", "pairs:PATH", "tfds:NAME/SPLIT", or "fashion_mnist_mini".',
        required=True,
    )
    test_data: str | None = option(
        None,
        "Images that the encoder is judged by; with labels, their k-NN accuracy is logged during "
        "training.",
    )
    split: float | None = option(
        None,
        "Instead of --test_data: share of the images that is held out from training to judge the "
        "encoder by; chosen by a stable hash that keeps near-duplicates together. 0: none. "
        "Default: 0.2, at most 5,000 images, if neither --test_data nor a method is given.",
        minimum=0,
        maximum=0.9,
    )
    image_size: int | None = option(
        None,
        "Side of the images in pixels; required if they differ in size. Default: as stored.",
        minimum=8,
        maximum=MAX_IMAGE_SIZE,
    )
    channels: int | None = option(
        None, "1 for gray, 3 for color. Default: as stored.", minimum=1, maximum=64
    )
    max_bad_share: float = option(
        0.05, "Share of unreadable files above which the run stops.", minimum=0, maximum=1
    )
    method: str | None = option(
        None,
        "The method. Default: simclr; seed with --teacher.",
        choices=tuple(signatures.methods()),
    )
    preset: str | None = option(
        None,
        "The settings for options that are not given: `published` for those of the authors of the "
        "method, scaled to the batch and the number of images; `small` for small images, little "
        "data and a CPU. Some methods have more. Default: `published` if a method is given, "
        "otherwise chosen by the images and the machine.",
    )
    init: str | None = option(
        None,
        "Existing weights to start the encoder from: an entry of the zoo, the folder of a run, or "
        "a .keras file; `none` for random weights. Default: for few images and the small preset, a "
        "matching entry of the zoo; otherwise random weights.",
    )
    teacher: str | None = option(
        None,
        "A larger trained encoder to distill, by default with method seed: an entry of the zoo, "
        "the folder of a run, a .keras file, or `keras:NAME`, a model of keras.applications with "
        "its ImageNet weights.",
    )
    encoder: str | None = option(
        None,
        "The encoder. Default: that of the preset for this size of images.",
        choices=ENCODERS,
    )
    zero_init_residual: bool | None = option(
        None, "Start every residual block as the identity. Default: the recipe's."
    )
    head: str | None = option(
        None, "Version of the projection head, for methods with several. Default: the method's."
    )
    temperature: float | None = option(
        None, "Temperature of the loss. Default: the recipe's.", above=0
    )
    method_options: dict[str, Any] = option(
        {}, "More arguments of the method, as JSON: '{\"queue_size\": 4096}'."
    )
    views: dict[str, Any] = option(
        {},
        "Changes to the views of the method, as JSON: "
        '\'{"crop_area": [0.2, 1.0], "hue": 0.1}\'; the names are those of the class of the views.',
    )
    batch_size: int | None = option(
        None, "Images per step. Default: the recipe's, at most 256.", minimum=2
    )
    epochs: int | None = option(
        None,
        "Passes over the images. Default: as many as fit into --minutes, or the recipe's.",
        minimum=1,
    )
    minutes: float | None = option(
        None,
        "Minutes that the whole command may take, from which the number of epochs is chosen. "
        "Default: 20 if neither epochs nor method is given.",
        above=0,
    )
    optimizer: str | None = option(
        None, "The optimizer. Default: the recipe's.", choices=OPTIMIZERS
    )
    learning_rate: float | None = option(
        None, "Peak of the learning rate. Default: the recipe's, scaled to the batch.", above=0
    )
    weight_decay: float | None = option(
        None,
        "Weight decay: for sgd, lars and larc, L2 added to the gradient, and so to the momentum; "
        "for the others, decoupled. Default: the recipe's.",
        minimum=0,
    )
    lars_convention: str | None = option(
        None,
        "Whether lars applies the learning rate inside or outside its momentum. Default: the "
        "recipe's.",
        choices=CONVENTIONS,
    )
    schedule: str | None = option(
        None,
        "How the learning rate falls: by a cosine, by a factor of ten after 60 and 80 % of the "
        "epochs, or not at all. Default: the recipe's.",
        choices=SCHEDULES,
    )
    warmup_epochs: float | None = option(
        None,
        "Epochs of linear warm-up. Default: the recipe's, at most a tenth of all epochs.",
        minimum=0,
    )
    warmup_start: float | None = option(
        None,
        "Share of the peak at which the warm-up begins. Default: the recipe's.",
        minimum=0,
        maximum=1,
    )
    final_share: float | None = option(
        None,
        "Share of the peak at which the cosine ends. Default: the recipe's.",
        minimum=0,
        maximum=1,
    )
    precision: str | None = option(
        None,
        "Precision of the layers; auto is the fastest that the GPU or CPU supports in hardware. "
        "Default: half precision on GPUs that are fast with it, otherwise float32.",
        choices=PRECISIONS,
    )
    seed: int = option(0, "Seed of the weights, the order of the images, and the views.")
    images: int | None = option(
        None, "Number of images; filled in once they are loaded.", minimum=2, flag=False
    )

    def __post_init__(self):
        super().__post_init__()
        if self.epochs and self.warmup_epochs and self.warmup_epochs >= self.epochs:
            raise ValueError(
                f"warmup_epochs must be less than epochs; received {self.warmup_epochs:g} of "
                f"{self.epochs} epochs."
            )
        if self.test_data and self.split:
            raise ValueError("split holds out images in place of test_data; give one of them.")
        method = self.method or self.default_method
        if signatures.takes(method, "teacher") != (self.teacher is not None):
            taught = [name for name in signatures.methods() if signatures.takes(name, "teacher")]
            raise ValueError(
                f"A teacher is for the method {' or '.join(taught)}, which needs one; received "
                f"method {method} and teacher {self.teacher!r}."
            )
        self._check_method_options()

    @property
    def default_method(self) -> str:
        """The method if none is named."""
        return DEFAULT_METHOD if self.teacher is None else TEACHER_METHOD

    def _check_method_options(self):
        method = self.method or self.default_method
        known = signatures.method_options(method)
        given = {name: getattr(self, name) for name in ("head", "temperature")}
        given = {name: value for name, value in given.items() if value is not None}
        for name, value in (given | self.method_options).items():
            if name not in known:
                raise ValueError(
                    f"{method} has no option {name!r}.{did_you_mean(name, known)} "
                    f"It has {', '.join(known)}."
                )
            default = known[name].default
            for base, words in ((int, "a whole number"), (float, "a number"), (str, "text")):
                if type(default) is base and as_plain(value, base) is None:
                    raise ValueError(
                        f"The option {name} of {method} must be {words}; received {value!r}."
                    )

    def completed_by(self, other: "Config") -> "Config":
        """The same options, with open ones taken from another configuration."""
        open_ones = {
            name: getattr(other, name) for name, value in vars(self).items() if value in (None, {})
        }
        return self.replace(**open_ones)


@dataclasses.dataclass(frozen=True)
class Execution(Options):
    """Options that do not change the result of a run."""

    run: str = option("", "Folder of the run.", required=True)
    knn_every: int | None = option(
        None,
        "Epochs between evaluations of the k-NN accuracy. Default: a tenth of all epochs.",
        minimum=1,
    )
    checkpoint_every_steps: int | None = option(
        None,
        "Steps between checkpoints within an epoch, in addition to one after each epoch. Default: "
        "one every ten minutes.",
        minimum=1,
    )
    keep_checkpoints: int = option(
        2, "Number of newest checkpoints to keep, in addition to the best.", minimum=1
    )
    allow_changed_images: bool = option(
        False,
        "Resume even if some images were replaced by as many others since the run began; not for "
        "methods that keep a row for each image.",
    )
    strategy: str = option(
        "auto",
        "auto, cpu, gpu, mirrored (all GPUs of this machine) or multiworker (the workers of "
        "TF_CONFIG or Slurm); auto uses whatever is available. The result is the same.",
    )
    devices: str | None = option(None, 'Use only these devices: "gpu:0,gpu:1".')
    data_service: str | None = option(
        None,
        'Dispatcher of a tf.data service that reads the images, "grpc://HOST:PORT"; only for '
        "tfds:….",
    )
