"""Images from TensorFlow Datasets, with small data sets written for the tests."""

import sys

import numpy as np
import pytest
import tensorflow as tf

from cl_keras.data import compare, load, tfds_source
from cl_keras.data.order import order
from cl_keras.data.tfds_source import import_tfds

tfds = import_tfds()


def write(folder, name, images, labels=None, shape=(6, 6, 3), version="1.0.0", config=None):
    """Writes images (train: all but five, test: five) as a TFDS data set called `name`."""
    features = {"image": tfds.features.Image(shape=shape, encoding_format="png")}
    if labels is not None:
        features["label"] = tfds.features.ClassLabel(names=["even", "odd"])
    examples = [{"image": image} for image in images]
    for number, example in enumerate(examples if labels is not None else []):
        example["label"] = int(labels[number])
    builder = tfds.dataset_builders.TfDataBuilder(
        name=name,
        config=config,
        version=version,
        data_dir=folder,
        split_datasets={
            "train": tf.data.Dataset.from_generator(lambda: examples[:-5], **signature(features)),
            "test": tf.data.Dataset.from_generator(lambda: examples[-5:], **signature(features)),
        },
        features=tfds.features.FeaturesDict(features),
        file_format="tfrecord",
    )
    tfds.disable_progress_bar()
    builder.download_and_prepare()


def signature(features):
    spec = {"image": tf.TensorSpec([None, None, None], tf.uint8)}
    if "label" in features:
        spec["label"] = tf.TensorSpec([], tf.int64)
    return {"output_signature": spec}


def numbered(count):
    """Image i of 6×6 pixels shows i in red, and its square in green."""
    images = np.zeros([count, 6, 6, 3], np.uint8)
    images[..., 0] = np.arange(count).reshape(-1, 1, 1) % 256
    images[..., 1] = (np.arange(count).reshape(-1, 1, 1) ** 2) % 251
    return images


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data_dir with four data sets."""
    path = str(tmp_path_factory.mktemp("tfds"))
    write(path, "numbered", numbered(45), np.arange(45) % 2)
    write(path, "configured", numbered(15), np.arange(15) % 2, config="red")
    sizes = [np.full([4 + i, 9, 3], 10 * i, np.uint8) for i in range(12)]
    write(path, "sizes", sizes, shape=(None, None, 3))
    write(path, "gray", numbered(9)[..., :1], shape=(6, 6, 1))
    return path


@pytest.fixture
def source(folder):
    return load("tfds:numbered/train", data_dir=folder, progress=False)


@pytest.fixture
def large(folder, monkeypatch):
    """The same set, as if it did not fit into memory, in blocks of 16."""
    monkeypatch.setattr(tfds_source, "WHOLE", 100)
    monkeypatch.setattr(tfds_source, "BLOCK", 16)
    return load("tfds:numbered/train", data_dir=folder, progress=False)


def indices(dataset):
    return [element["index"].numpy().tolist() for element in dataset]


def test_describes_the_data_set(source):
    assert len(source) == 40 and source.image_shape == (6, 6, 3)
    assert source.name == "tfds:numbered/train" and source.names is None
    assert source.class_names == ["even", "odd"] and source.has_labels
    assert np.bincount(source.labels).tolist() == [20, 20]


def test_indices_are_stable_and_dense(source, folder):
    elements = list(source.batches(16, shuffle=False))
    assert sum([e["index"].numpy().tolist() for e in elements], []) == list(range(40))
    images = np.concatenate([element["image"] for element in elements])
    labels = np.concatenate([element["label"] for element in elements])
    assert sorted(images[:, 0, 0, 0]) == list(range(40)), "every image of the split, once"
    np.testing.assert_array_equal(images, numbered(40)[images[:, 0, 0, 0]])
    np.testing.assert_array_equal(labels, images[:, 0, 0, 0] % 2)
    np.testing.assert_array_equal(labels, source.labels)
    again = load("tfds:numbered", data_dir=folder, progress=False)
    np.testing.assert_array_equal(again.images([39, 0, 0, 7]), images[[39, 0, 0, 7]])


def test_shuffled_elements_stay_together(source):
    by_index = source.images(range(40))
    for element in source.batches(8, seed=4):
        np.testing.assert_array_equal(element["image"], by_index[element["index"].numpy()])
        np.testing.assert_array_equal(element["label"], source.labels[element["index"].numpy()])


def test_a_set_that_fits_into_memory_is_shuffled_whole(source, folder):
    assert source.shuffles_whole
    assert load("tfds:numbered/train[:50%]", data_dir=folder, progress=False).shuffles_whole
    expected = order(4, 1, 40, block=0).numpy().reshape(5, 8).tolist()
    assert indices(source.batches(8, seed=4).from_epoch(1).take(5)) == expected


@pytest.mark.parametrize("shuffle", [True, False])
def test_an_epoch_is_resumed_in_its_middle(source, shuffle):
    batches = source.batches(8, seed=4, shuffle=shuffle)
    whole = indices(batches.from_epoch(1).take(10))
    assert indices(batches.from_epoch(1, skip=3).take(7)) == whole[3:]


def test_a_large_set_is_shuffled_in_blocks_that_move(large):
    assert not large.shuffles_whole
    epochs = [sum(indices(large.batches(8, seed=4).from_epoch(e).take(5)), []) for e in range(6)]
    starts = set()
    for epoch in epochs:
        assert sorted(epoch) == list(range(40))
        # after the first block of 1 to 16, blocks of 16: where the sorted prefix is complete
        complete = [n for n in range(1, 41) if sorted(epoch[:n]) == list(range(n))]
        first = next(n for n in range(1, 17) if {n, n + 16} <= set(complete))
        starts.add(first)
    assert len(starts) > 1 and len({tuple(epoch) for epoch in epochs}) == 6


@pytest.mark.parametrize("name", ["source", "large"])
def test_resuming_an_epoch_is_the_same_as_running_to_it(name, request):
    for how in ({}, {"drop_remainder": False}, {"shuffle": False}):
        batches = request.getfixturevalue(name).batches(12, seed=2, **how)
        steps = batches.steps_per_epoch
        whole = indices(batches.from_epoch(0).take(3 * steps))
        assert indices(batches.from_epoch(2).take(steps)) == whole[2 * steps :]
        assert indices(batches) == whole[:steps] and len(batches) == steps


def test_works_under_a_strategy(source, mirrored):
    batches = source.batches(8, seed=1)
    distributed = iter(mirrored.experimental_distribute_dataset(batches.from_epoch(0)))
    for expected in indices(batches):
        parts = mirrored.experimental_local_results(next(distributed)["index"])
        assert [part.numpy().tolist() for part in parts] == [expected[:4], expected[4:]]


def test_sizes_and_channels_are_converted(folder):
    how = {"data_dir": folder, "progress": False}
    with pytest.raises(ValueError, match="tfds:sizes have different sizes.*image_size=224"):
        load("tfds:sizes/train", **how)
    sizes = load("tfds:sizes/train", image_size=5, **how)
    assert sizes.image_shape == (5, 5, 3) and not sizes.has_labels and sizes.labels is None
    values = sizes.images(range(7))[:, 2, 2, 0]
    assert sorted(values) == [0, 10, 20, 30, 40, 50, 60]
    assert load("tfds:gray", **how).image_shape == (6, 6, 1)
    color = load("tfds:gray", channels=3, **how).images([0])
    assert color.shape == (1, 6, 6, 3) and (color[..., 0] == color[..., 2]).all()
    unlabeled = load("tfds:numbered", labels=None, **how)
    assert unlabeled.labels is None and "label" not in unlabeled.batches(4).element_spec


def test_the_split_follows_the_last_slash(folder):
    how = {"data_dir": folder, "progress": False}
    assert len(load("tfds:numbered/train[:25%]+test", **how)) == 15
    assert len(load("tfds:numbered:1.0.0/test", **how)) == 5
    assert len(load("tfds:configured/red:1.0.0/train", **how)) == 10
    assert len(load("tfds:configured/red/test", **how)) == 5
    with pytest.raises(ValueError, match="no split 'red'; it has .*train.*name/config/train"):
        load("tfds:configured/red", **how)


def test_an_unknown_data_set_is_named_with_its_neighbors(folder):
    with pytest.raises(ValueError, match="no data set 'cifar11'. Did you mean 'cifar1"):
        load("tfds:cifar11/train", data_dir=folder, progress=False)


def test_a_missing_dependency_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ImportError, match="pip install tensorflow-datasets importlib_resources"):
        import_tfds()


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_rows_of_all_workers_are_the_batches_of_one(large, shuffle):
    batches = large.batches(6, seed=4, shuffle=shuffle, drop_remainder=True)
    shares = [batches.of_worker(worker, 3) for worker in range(3)]
    together = [sum(rows, []) for rows in zip(*map(indices, shares), strict=True)]
    assert together == indices(batches) and len(together) == 6
    late = [indices(share.from_epoch(2, skip=4).take(4)) for share in shares]
    together = [sum(rows, []) for rows in zip(*late, strict=True)]
    assert together == indices(batches.from_epoch(2, skip=4).take(4))


def test_a_worker_decodes_only_its_own_images(source, monkeypatch):
    decoded = tf.Variable(0)
    original = source._decode

    def counted(example):
        with tf.control_dependencies([decoded.assign_add(1)]):
            return original(example)

    monkeypatch.setattr(source, "_decode", counted)
    assert len(indices(source.batches(10).of_worker(1, 2))) == 4
    assert int(decoded) == 20


@pytest.fixture
def service():
    """A function that starts a tf.data service with a number of workers in this process."""
    servers, kinds = [], tf.data.experimental.service

    def start(workers):
        dispatcher = kinds.DispatchServer()
        address = dispatcher.target.split("://")[1]
        config = [kinds.WorkerConfig(dispatcher_address=address) for _ in range(workers)]
        servers.extend([dispatcher, *map(kinds.WorkerServer, config)])
        return dispatcher.target

    yield start
    for server in reversed(servers):
        server._stop()


def test_a_service_of_one_worker_keeps_the_order(source, service):
    batches = source.batches(8, seed=4)
    served = batches.from_service(service(1))
    assert served.element_spec == batches.element_spec
    assert indices(served) == indices(batches) == indices(served)
    place = {"epoch": 5, "skip": 3}
    expected = indices(batches.from_epoch(**place).take(12))
    assert indices(served.from_epoch(**place).take(12)) == expected
    element = next(iter(served))
    expected = source.images(element["index"].numpy())
    np.testing.assert_array_equal(element["image"], expected)
    shares = [served.of_worker(worker, 2) for worker in range(2)]
    together = [sum(rows, []) for rows in zip(*map(indices, shares), strict=True)]
    assert together == indices(batches)


def test_a_service_of_two_workers_gives_every_image_as_often(source, service):
    served = source.batches(8, seed=4).from_service(service(2))
    assert sorted(sum(indices(served), [])) == list(range(40))


class Halves:
    """Crops of the left half, whose width shows the size of the stored image."""

    sizes = (4,)

    def __call__(self, height, width, *, epoch, index):
        self.drawn = self.drawn | {(height, width, epoch, index)}
        return np.array([[0.0, 0.0, height, width / 2]]), [False]

    drawn = frozenset()


def test_photographs_are_cut_as_they_are_stored(folder):
    source = load("tfds:sizes/train", data_dir=folder, image_size=4, progress=False)
    cropper = Halves()
    batches = source.batches(7, shuffle=False).cut(cropper)
    (element,) = batches.from_epoch(2).take(1)
    stored = source.images(range(7))[:, 0, 0, 0]  # image i of 4 + i by 9 pixels shows 10 i
    np.testing.assert_array_equal(element["crops"][0][:, 1, 1, 0], stored)
    expected = {(4 + value // 10, 9, 2, index) for index, value in enumerate(stored.tolist())}
    assert {row for row in cropper.drawn if row[2] == 2} >= expected
    assert not load("tfds:numbered/train", data_dir=folder, image_size=4, progress=False).cuts


def test_the_identity_is_the_version_and_the_split(folder):
    def identity(split):
        return load(f"tfds:numbered/{split}", data_dir=folder, progress=False).identity()

    assert identity("train").facts["name"] == "numbered/1.0.0"
    assert not compare(identity("train"), identity("train"))
    assert "split" in compare(identity("train"), identity("test")).facts
    found = load("tfds:sizes/train", data_dir=folder, image_size=4, progress=False).summary()
    assert found.heights == (4, 7, 10) and found.widths == (9, 9, 9) and found.gray
