"""The bundled set: its bytes, its balance, and the tool that made it."""

import gzip
import hashlib
import importlib.util
import pathlib
import struct

import numpy as np
import pytest

from cl_keras.data import load

SHA256 = {  # of the unpacked images and labels
    "train": (
        "e1427044c614fabc29feeff0f27e6b68f88a9ee2f2cfe7d783b9157159864883",
        "2c02745d4ad8b4511333d0eca662ac5664a371860abaa4588b1670e7be59fbdf",
    ),
    "test": (
        "96315b1732ab731e68b8def3c284f34b605f7deb7a61e683c7d786265c827c83",
        "b2095bc797d1201e84da76c94012c02d0e6f07af0938df4e00120a3b42d1aa4c",
    ),
}


@pytest.mark.parametrize(("split", "count"), [("train", 1000), ("test", 200)])
def test_is_what_was_packed(split, count):
    source = load(f"fashion_mnist_mini/{split}")
    images = source.images(range(len(source)))
    assert images.shape == (10 * count, 28, 28, 1) and source.image_shape == (28, 28, 1)
    assert np.bincount(source.labels).tolist() == [count] * 10
    sums = [
        hashlib.sha256(data.astype(np.uint8).tobytes()).hexdigest()
        for data in (images, source.labels)
    ]
    assert tuple(sums) == SHA256[split]


def test_names_its_classes_and_converts():
    source = load("fashion_mnist_mini", image_size=32, channels=3)
    assert source.name == "fashion_mnist_mini/train" and source.image_shape == (32, 32, 3)
    first = [source.class_names[label] for label in source.labels[:4]]
    assert first == ["Ankle boot", "T-shirt/top", "T-shirt/top", "Dress"]  # as the original begins
    plain = load("fashion_mnist_mini/test", labels=None)
    assert plain.labels is None and plain.class_names is None


def test_carries_its_license():
    folder = pathlib.Path(importlib.util.find_spec("cl_keras.data").origin).parent / "bundled"
    text = (folder / "LICENSE-fashion-mnist").read_text()
    assert "The MIT License" in text and "Zalando SE" in text


def write_idx(path, array):
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


def test_the_tool_takes_the_first_of_each_class_in_order(tmp_path, monkeypatch):
    path = pathlib.Path(__file__).parents[2] / "tools" / "make_fashion_mnist_mini.py"
    spec = importlib.util.spec_from_file_location("make_fashion_mnist_mini", path)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    monkeypatch.setattr(tool, "PER_CLASS", {"train": 2, "test": 1})
    labels = np.array([1, 0, 1, 1, 0, 0], np.uint8)
    for prefix in ("train", "t10k"):
        write_idx(tmp_path / f"{prefix}-labels-idx1-ubyte.gz", labels)
        images = np.arange(24, dtype=np.uint8).reshape(6, 2, 2)
        write_idx(tmp_path / f"{prefix}-images-idx3-ubyte.gz", images)
    made = tool.make(tmp_path)
    assert made["train_labels"].tolist() == [1, 0, 1, 0]
    assert made["train_images"][:, 0, 0].tolist() == [0, 4, 8, 16]
    assert made["test_labels"].tolist() == [1, 0]
    (tmp_path / "text.gz").write_bytes(gzip.compress(b"no images here"))
    with pytest.raises(ValueError, match="must be an IDX file of unsigned bytes"):
        tool.read_idx(tmp_path / "text.gz")
