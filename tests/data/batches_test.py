"""Batches: epochs that can be resumed anywhere, with and without a strategy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cl_keras.data import Batches, load
from cl_keras.data.order import order


@pytest.fixture
def source():
    """22 images of 4×4, image i filled with i, label i % 3."""
    array = np.arange(22, dtype=np.uint8).reshape(22, 1, 1) * np.ones([1, 4, 4], np.uint8)
    return load(array, labels=np.arange(22) % 3)


def indices(dataset):
    return [element["index"].numpy().tolist() for element in dataset]


def test_an_epoch_is_the_drawn_order_cut_into_batches(source):
    batches = source.batches(4, seed=9)
    expected = order(9, 0, 22).numpy()[:20].reshape(5, 4).tolist()
    assert indices(batches) == expected
    assert indices(batches) == expected, "iterating again repeats epoch 0"


def test_elements_carry_the_image_and_label_of_their_index(source):
    for element in source.batches(4):
        assert element["image"].dtype == tf.uint8 and element["image"].shape == (4, 4, 4, 1)
        number = element["index"].numpy()
        np.testing.assert_array_equal(element["image"][:, 2, 1, 0], number)
        np.testing.assert_array_equal(element["label"], number % 3)


def test_without_shuffling_everything_comes_in_order(source):
    batches = source.batches(4, shuffle=False)
    assert sum(indices(batches), []) == list(range(22))
    assert len(indices(batches)[-1]) == 2 and not batches.drop_remainder
    assert indices(source.batches(4, shuffle=False, drop_remainder=True))[-1] == [16, 17, 18, 19]
    kept = source.batches(4, drop_remainder=False)
    assert sorted(sum(indices(kept), [])) == list(range(22))


def test_is_a_dataset_of_known_length_and_spec(source):
    batches = source.batches(4, seed=3)
    assert isinstance(batches, tf.data.Dataset) and isinstance(batches, Batches)
    assert len(batches) == batches.steps_per_epoch == 5
    assert len(source.batches(4, shuffle=False)) == 6
    assert batches.element_spec == {
        "image": tf.TensorSpec([4, 4, 4, 1], tf.uint8),
        "index": tf.TensorSpec([4], tf.int64),
        "label": tf.TensorSpec([4], tf.int64),
    }
    assert (batches.source, batches.batch_size, batches.seed) == (source, 4, 3)
    assert batches.shuffled and not source.batches(4, shuffle=False).shuffled
    assert batches.options().autotune.enabled is False and batches.options().deterministic
    assert len(indices(batches.map(lambda element: element).shuffle(5).take(2))) == 2


@pytest.mark.parametrize("how", [{}, {"drop_remainder": False}, {"shuffle": False}])
@pytest.mark.parametrize("first", [1, 3])
def test_resuming_an_epoch_is_the_same_as_running_to_it(source, how, first):
    batches = source.batches(4, seed=2, **how)
    steps = batches.steps_per_epoch
    whole = indices(batches.from_epoch(0).take((first + 2) * steps))
    assert indices(batches.from_epoch(first).take(2 * steps)) == whole[first * steps :]
    assert whole[:steps] == indices(batches)


@pytest.mark.parametrize("how", [{}, {"drop_remainder": False}, {"shuffle": False}])
def test_resuming_the_middle_of_an_epoch_gives_its_rest_and_then_whole_ones(source, how):
    batches = source.batches(4, seed=2, **how)
    steps = batches.steps_per_epoch
    whole = indices(batches.from_epoch(1).take(3 * steps))
    for skip in (0, 2, steps - 1, steps):
        assert indices(batches.from_epoch(1, skip).take(3 * steps - skip)) == whole[skip:]


def test_what_is_skipped_is_not_read(source, monkeypatch):
    read, original = [], source._read

    def recorded(wanted):
        read.extend(wanted.tolist())
        return original(wanted)

    monkeypatch.setattr(source, "_read", recorded)
    next(iter(source.batches(1, shuffle=False).from_epoch(0, skip=12)))
    assert min(read) == 12 and max(read) < 21, "ahead, but not into the next epoch"


def test_a_wrong_skip_is_refused(source):
    with pytest.raises(ValueError, match="skip must be at most 5, .*; received 6"):
        source.batches(4).from_epoch(0, skip=6)
    with pytest.raises(ValueError, match="skip must be an int of at least 0; received -1"):
        source.batches(4).from_epoch(0, skip=-1)


def test_each_epoch_is_another_permutation(source):
    batches = source.batches(22, seed=2)
    epochs = indices(batches.from_epoch(0).take(4))
    assert all(sorted(epoch) == list(range(22)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert batches.from_epoch(0).cardinality() == tf.data.INFINITE_CARDINALITY
    assert batches.from_epoch(10**6).take(1).cardinality() == 1


@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (0, ValueError, "batch_size must be an int of at least 1; received 0"),
        (-3, ValueError, "batch_size must be an int of at least 1; received -3"),
        (2.0, TypeError, "batch_size must be an int; received 2.0"),
        (23, ValueError, "array has 22 images, fewer than one batch of 23.*at most 22"),
    ],
)
def test_an_impossible_batch_size_is_refused_at_once(source, size, error, message):
    with pytest.raises(error, match=message):
        source.batches(size)


def test_a_small_last_batch_is_accepted_if_it_is_kept(source):
    assert indices(source.batches(23, shuffle=False)) == [list(range(22))]


def test_a_wrong_epoch_or_seed_is_refused(source):
    with pytest.raises(ValueError, match="epoch must be an int of at least 0; received -1"):
        source.batches(4).from_epoch(-1)
    with pytest.raises(TypeError, match="seed must be an int; received 'a'"):
        source.batches(4, seed="a")


class IndexSum(keras.Model):
    """Sums the indices and the pixels that all replicas receive."""

    def __init__(self):
        super().__init__()
        self.seen = self.add_weight(
            shape=(2,), initializer="zeros", aggregation="only_first_replica"
        )

    def call(self, images):
        return images

    def train_step(self, data):
        assert data["index"].shape == (2,), "half of the global batch of 4"
        sums = [tf.reduce_sum(data["index"])]
        sums.append(tf.reduce_sum(tf.cast(data["image"][:, 0, 0, 0], tf.int64)))
        here = tf.cast(tf.stack(sums), tf.float32)
        self.seen.assign_add(tf.distribute.get_replica_context().all_reduce("sum", here))
        return {"loss": tf.constant(0.0)}


def per_replica(strategy, dataset, steps):
    iterator = iter(strategy.experimental_distribute_dataset(dataset))
    rows = [strategy.experimental_local_results(next(iterator)["index"]) for _ in range(steps)]
    return [[part.numpy().tolist() for part in row] for row in rows]


def test_two_replicas_share_the_global_batch_in_order(source, mirrored):
    batches = source.batches(4, seed=6)
    expected = [[batch[:2], batch[2:]] for batch in indices(batches)]
    assert per_replica(mirrored, batches, 5) == expected
    assert per_replica(mirrored, batches.from_epoch(0), 5) == expected


def test_fit_under_a_strategy_sees_every_image_once(source, mirrored):
    batches = source.batches(4, seed=6)
    with mirrored.scope():
        model = IndexSum()
        model.compile()
    model.built = True
    history = model.fit(batches, epochs=1, shuffle=False, verbose=0)
    assert history.params["steps"] == 5
    expected = sum(sum(batch) for batch in indices(batches))
    assert model.seen.numpy().tolist() == [expected, expected]


def test_fit_takes_epochs_from_the_infinite_dataset(source):
    batches = source.batches(4, seed=6)
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    pairs = batches.from_epoch(2).map(lambda e: (tf.cast(e["image"], "float32"), e["label"]))
    steps = batches.steps_per_epoch
    model.fit(pairs, epochs=2, steps_per_epoch=steps, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations.numpy()) == 10


def side_by_side(parts):
    return [sum(rows, []) for rows in zip(*parts, strict=True)]


@pytest.mark.parametrize("workers", [2, 4])
def test_the_rows_of_all_workers_are_the_batches_of_one(source, workers):
    batches = source.batches(4, seed=6)
    shares = [batches.of_worker(worker, workers) for worker in range(workers)]
    assert side_by_side(map(indices, shares)) == indices(batches)
    places = [share.from_epoch(3, skip=2).take(5) for share in shares]
    assert side_by_side(map(indices, places)) == indices(batches.from_epoch(3, skip=2).take(5))
    element = next(iter(shares[1]))
    np.testing.assert_array_equal(element["image"][:, 2, 1, 0], element["index"])
    np.testing.assert_array_equal(element["label"], element["index"].numpy() % 3)
    assert len(shares[0]) == 5 and shares[0].element_spec["index"].shape == (4 // workers,)


def test_a_worker_reads_only_its_own_images(source, monkeypatch):
    read, original = [], source._read

    def recorded(wanted):
        read.extend(wanted.tolist())
        return original(wanted)

    monkeypatch.setattr(source, "_read", recorded)
    own = sum(indices(source.batches(4, seed=6).of_worker(1, 2)), [])
    assert len(own) == 10 and sorted(read) == sorted(own)


@pytest.mark.parametrize(
    "size, worker, workers, complaint",
    [
        (4, 2, 2, "numbered from 0; received batch_size=4 and worker 2"),
        (4, -1, 2, "worker -1"),
        (4, 0, 3, "a multiple of the 3 workers"),
    ],
)
def test_workers_that_cannot_share_a_batch_are_refused(source, size, worker, workers, complaint):
    with pytest.raises(ValueError, match=complaint):
        source.batches(size).of_worker(worker, workers)


def test_a_smaller_last_batch_is_not_shared(source):
    with pytest.raises(ValueError, match="2 workers cannot share it; give drop_remainder=True"):
        source.batches(4, shuffle=False).of_worker(0, 2)
    assert indices(source.batches(2, shuffle=False).of_worker(0, 2))[-1] == [20]


def test_images_read_by_python_are_refused_for_a_service(source):
    with pytest.raises(ValueError, match="array is read by Python in this process"):
        source.batches(4).from_service("grpc://localhost:1")
    with pytest.raises(ValueError, match="'grpc://host:port'; received 'localhost:1'"):
        source.batches(4).from_service("localhost:1")
