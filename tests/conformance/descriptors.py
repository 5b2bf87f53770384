"""Small models of all methods, for the generic tests."""

import keras
import numpy as np

from cl_keras import methods
from tests.conformance.toy_method import ToyMethod
from tests.tiny import IMAGE_SIZE, VIEWS, tiny_encoder

IMAGES = 80
"""Number of images that the generic tests train on: five steps of 16."""

LABELS = np.arange(IMAGES) // 4
"""Several images of a class."""


def label_encoder():
    """Encoder for the other side of pairs of an image and a number."""
    numbers = keras.Input([], dtype="int64")
    return keras.Model(
        numbers, keras.layers.Embedding(IMAGES, 6, name="embedding")(numbers), name="labels"
    )


def other_teacher():
    """A teacher for smaller color images, whose output is a feature map."""
    images = keras.Input([8, 8, 3])
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Conv2D(5, 3, activation="relu", name="conv")(x)
    return keras.Model(images, x, name="teacher")


OPTIONS = {
    "ToyMethod": {},
    "SimCLR": {},
    "SupCon": {},
    "TwoTower": {"other": "label", "other_encoder": label_encoder},
    "TwoTower, sigmoid": {"other": "label", "other_encoder": label_encoder, "loss": "sigmoid"},
    "DeepInfoMax": {"critic_dim": 8, "global_weight": 0.5, "output_dim": 6},
    "DeepInfoMax, dv": {"critic_dim": 8, "critic": "concat", "bound": "dv", "prior_weight": 0.0},
    "DeepInfoMax, two views": {"critic_dim": 8, "bound": "infonce", "views": VIEWS},
    "MoCo": {"queue_size": 24, "momentum": 0.9, "shuffle_bn_groups": 1},
    "MoCo, shuffled": {"queue_size": 24, "momentum": 0.9, "shuffle_bn_groups": 4},
    "MoCoV3": {"hidden_dim": 8, "output_dim": 4, "momentum": 0.9, "momentum_steps": 9},
    "SEED": {"queue_size": 24, "teacher": tiny_encoder},
    "SEED, of another size": {
        "queue_size": 20,
        "teacher": other_teacher,
        "views": VIEWS,
        "head": "linear",
    },
    "InstDisc": {"num_images": IMAGES, "num_negatives": 7},
    "InstDisc, softmax": {"num_images": IMAGES, "loss": "softmax", "temperature": 0.1},
    "InstDisc, InfoNCE": {"num_images": IMAGES, "num_negatives": 7, "loss": "info_nce"},
    "PIRL": {"num_images": IMAGES, "num_negatives": 7},
    "RotNet": {},
    "RelativePosition": {"hidden_dim": 8},
    "Jigsaw": {"hidden_dim": 8},
    "CPC": {"steps": (1, 2), "target_dim": 4, "context_layers": 1},
    "SwAV": {"num_prototypes": 5, "frozen_steps": 1, "queue_size": 17},
    "DeepCluster": {"num_images": IMAGES, "num_clusters": 4, "num_clusterings": 2},
    "PCL": {
        "num_images": IMAGES,
        "num_clusters": (3, 5),
        "num_negative_prototypes": 4,
        "warmup_epochs": 0,
        "queue_size": 24,
        "momentum": 0.9,
        "shuffle_bn_groups": 1,
    },
}
"""Options that make each small; four groups can be shared by one, two and four devices."""

EVERY_METHOD = [name for name in OPTIONS if "," not in name]
"""Without the variants of a method."""


def method_of(name):
    """The name of the method, without the variant after a comma."""
    return name.partition(",")[0]


def make(name, optimizer=None, encoder=tiny_encoder, **changes):
    """A compiled model of a method with the same weights each time; `changes` override options."""
    keras.utils.set_random_seed(0)
    method = ToyMethod if name == "ToyMethod" else getattr(methods, method_of(name))
    options = OPTIONS[name] | changes
    for network in {"other_encoder", "teacher"} & set(options):
        options[network] = options[network]()
    views = options.pop("views", None) or _views(method)
    model = method(encoder(), views=views, seed=1, **options)
    model.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9))
    return model


_VIEWS = {}


def _views(method):
    """One object for each kind of views, so that its compiled function is compiled once."""
    made = method.default_views(IMAGE_SIZE, channels=1)
    return _VIEWS.setdefault(str(sorted(made.get_config().items())), made)
