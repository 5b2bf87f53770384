"""Every method once, small: what the generic tests run over."""

import keras

from cl_keras import methods
from tests.conformance.toy_method import ToyMethod
from tests.tiny import IMAGE_SIZE, tiny_encoder

IMAGES = 80
"""Number of images that the generic tests train on: five steps of 16."""

OPTIONS = {
    "ToyMethod": {},
    "SimCLR": {},
    "MoCo": {"queue_size": 24, "momentum": 0.9, "shuffle_bn_groups": 1},
    "MoCo, shuffled": {"queue_size": 24, "momentum": 0.9, "shuffle_bn_groups": 4},
    "MoCoV3": {"hidden_dim": 8, "output_dim": 4, "momentum": 0.9, "momentum_steps": 9},
    "InstDisc": {"num_images": IMAGES, "num_negatives": 7},
    "InstDisc, softmax": {"num_images": IMAGES, "loss": "softmax", "temperature": 0.1},
    "InstDisc, InfoNCE": {"num_images": IMAGES, "num_negatives": 7, "loss": "info_nce"},
    "PIRL": {"num_images": IMAGES, "num_negatives": 7},
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
"""What makes each small; in four parts, so that keys can be shared by one, two and four devices."""


def method_of(name):
    """The name of the method; what stands after a comma is a variant of it."""
    return name.partition(",")[0]


def make(name, optimizer=None, encoder=tiny_encoder, **changes):
    """A compiled model of a method, the same weights each time; `changes` of its options."""
    keras.utils.set_random_seed(0)
    method = ToyMethod if name == "ToyMethod" else getattr(methods, method_of(name))
    options = OPTIONS[name] | changes
    views = options.get("views") or _views(method)
    model = method(encoder(), views=views, seed=1, **options)
    model.compile(optimizer or keras.optimizers.SGD(0.05, momentum=0.9))
    return model


_VIEWS = {}


def _views(method):
    """One object for each kind of views, so that its compiled function is compiled once."""
    made = method.default_views(IMAGE_SIZE, channels=1)
    return _VIEWS.setdefault(str(sorted(made.get_config().items())), made)
