"""The bundled data set: a balanced subset of Fashion-MNIST.

The first 1,000 images of each class of the training set (10,000), and the first 200 of each class
of the test set (2,000), in their original order; 28×28 gray. Xiao, Rasul and Vollgraf 2017,
arXiv:1708.07747; MIT, © 2017 Zalando SE (see `bundled/LICENSE-fashion-mnist`).
"""

from importlib import resources

import numpy as np

from cl_keras.data.arrays import ArraySource

CLASS_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def arrays(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The raw arrays of one split.

    Args:
        split: "train" or "test".

    Returns:
        (images, labels): uint8 `[n, 28, 28]` and uint8 `[n]`; n is 10,000 or 2,000.
    """
    file = resources.files("cl_keras.data").joinpath("bundled", "fashion_mnist_mini.npz")
    with file.open("rb") as opened, np.load(opened, allow_pickle=False) as members:
        return members[f"{split}_images"], members[f"{split}_labels"]


def fashion_mnist_mini(
    split: str = "train",
    *,
    image_size: int | None = None,
    channels: int | None = None,
    labels: str | None = "auto",
) -> ArraySource:
    """The bundled data set as a source.

    Args:
        split: "train" or "test"; default: "train".
        image_size: side in pixels; default: None, 28.
        channels: 1 or 3; default: None, 1.
        labels: "auto" or None; default: "auto", with labels.

    Raises:
        ValueError: another split.
    """
    if split not in ("train", "test"):
        raise ValueError(
            f"fashion_mnist_mini has the splits 'train' and 'test'; received {split!r}."
        )
    images, numbers = arrays(split)
    return ArraySource(
        images,
        name=f"fashion_mnist_mini/{split}",
        image_size=image_size,
        channels=channels,
        labels=numbers if labels is not None else None,
        class_names=list(CLASS_NAMES) if labels is not None else None,
    )
