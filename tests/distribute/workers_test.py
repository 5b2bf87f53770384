"""Two processes, started like Slurm tasks, together give the result of one."""

import numpy as np
import pytest

from cl_keras import data
from tests import processes
from tests.distribute.training import BATCH, EPOCHS, IMAGES, SEED, STEPS

WORKERS = 2

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The results of a single process, and of each of two workers."""
    folder = tmp_path_factory.mktemp("workers")
    program = "tests.distribute.training"

    def arguments(i):
        return [program, f"--out={folder / f'{i}.npz'}", f"--export={folder / 'served'}"]

    alone = processes.start([program, f"--out={folder / 'alone.npz'}"])
    processes.finish([alone, *processes.start_slurm_tasks(WORKERS, arguments)])
    return [np.load(folder / f"{name}.npz") for name in ("alone", *range(WORKERS))]


def test_every_worker_knows_its_index(runs):
    alone, *workers = runs
    assert alone["who"].tolist() == [0, 1, 1] and alone["all"].tolist() == [10]
    for number, found in enumerate(workers):
        assert found["who"].tolist() == [number, WORKERS, number == 0]
        assert found["all"].tolist() == [10, 11]


def test_training_validation_and_prediction_are_those_of_one(runs):
    alone, *workers = runs
    assert {"history/val_loss", "history/knn", "evaluated", "predicted"} < set(alone.files)
    assert alone["of the chief"].tolist() == [0.1, 7.0]
    compared = [key for key in alone.files if key not in ("who", "all", "reads")]
    for found in workers:
        for key in compared:
            np.testing.assert_allclose(found[key], alone[key], rtol=0, atol=1e-7, err_msg=key)


def test_the_chief_exports_the_common_model(runs):
    _, chief, other = runs
    np.testing.assert_allclose(chief["served"], chief["predicted"], atol=1e-5)
    assert "served" not in other.files


def test_every_image_is_read_once_per_epoch_by_one_worker(runs):
    """Each worker reads its own rows of the global batches, and a little ahead."""
    source = data.load(np.zeros([IMAGES, 2, 2], np.uint8))
    ahead = source.batches(BATCH, seed=SEED).from_epoch(0).take(2 * EPOCHS * STEPS)
    batches = np.stack([element["index"] for element in ahead])
    shares = np.split(batches, WORKERS, axis=1)
    for run, own in zip(runs, [batches, *shares], strict=True):
        reads = list(map(tuple, run["reads"].tolist()))
        assert set(map(tuple, own[: EPOCHS * STEPS].tolist())) <= set(reads)
        assert set(reads) <= set(map(tuple, own.tolist())) and len(reads) == len(set(reads))
    for epoch in np.split(batches, 2 * EPOCHS):
        np.testing.assert_array_equal(np.sort(epoch, axis=None), range(IMAGES))
