import json

import numpy as np
import pytest

from cl_keras import distribute
from cl_keras.runs import CheckpointCallback, Checkpoints, Position, checksummed_json
from tests.tiny import tiny_simclr
from tools.die_in_write import SPOTS, Death

FILES = [
    [f"epoch-{epoch:05d}-batch-0000000.{kind}" for kind in ("npz", "json")] for epoch in range(1, 5)
]
"""What a checkpoint at the end of epoch 1, 2, … consists of."""


def state(model):
    return [v.numpy() for v in [*model.variables, *model.optimizer.variables]]


def assert_same_state(model, expected):
    for received, wanted in zip(state(model), expected, strict=True):
        np.testing.assert_array_equal(received, wanted)


def trained(images, folder, epochs=3):
    model = tiny_simclr()
    checkpoints = Checkpoints(folder)
    model.fit(
        images, batch_size=16, epochs=epochs, verbose=0, callbacks=[CheckpointCallback(checkpoints)]
    )
    return model, checkpoints


def test_the_newest_is_restored_with_all_state_and_the_oldest_is_removed(images, tmp_path):
    model, checkpoints = trained(images, tmp_path)
    assert [record["epoch"] for record in checkpoints.list()] == [2, 3]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"manifest.json", *FILES[1], *FILES[2]}
    again = tiny_simclr()
    assert checkpoints.restore(again) == Position(epoch=3, batch=0, step=6)
    # Metrics are begun anew at every epoch; all else must be there, momentum and step too.
    for metric in again.metrics:
        metric.reset_state()
    for metric in model.metrics:
        metric.reset_state()
    assert_same_state(again, state(model))
    assert int(again.step) == 6


def test_an_empty_folder_is_epoch_zero(tmp_path):
    position = Checkpoints(tmp_path / "none").restore(tiny_simclr())
    assert position == Position(0, 0, 0) and not position and Position(0, 1, 1)


@pytest.mark.parametrize("harm", ["flip", "truncate", "remove"])
def test_a_broken_checkpoint_is_detected_and_the_previous_one_used(images, tmp_path, harm, caplog):
    _, checkpoints = trained(images, tmp_path)
    newest = tmp_path / FILES[2][0]
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    if harm == "flip":
        newest.write_bytes(content)
    elif harm == "truncate":
        newest.write_bytes(content[: len(content) // 2])
    else:
        newest.unlink()
    assert checkpoints.restore(tiny_simclr()).epoch == 2
    assert "is damaged; trying the one before it" in caplog.text


def test_a_checkpoint_of_another_model_is_refused(images, tmp_path):
    _, checkpoints = trained(images, tmp_path)
    with pytest.raises(ValueError, match="It comes from another model"):
        checkpoints.restore(tiny_simclr(head="v2"))


def test_an_error_says_if_all_are_broken(images, tmp_path):
    _, checkpoints = trained(images, tmp_path)
    for path in tmp_path.glob("*.npz"):
        path.write_bytes(b"")
    with pytest.raises(OSError, match="All checkpoints in .* are damaged"):
        checkpoints.restore(tiny_simclr())


def test_a_file_that_the_manifest_does_not_name_is_not_a_checkpoint(images, tmp_path):
    _, checkpoints = trained(images, tmp_path)
    (tmp_path / FILES[3][0]).write_bytes(b"half")
    assert checkpoints.restore(tiny_simclr()).epoch == 3


def test_a_full_disk_ends_the_run_with_an_error_and_the_last_checkpoint(
    images, tmp_path, full_disk
):
    model, checkpoints = trained(images, tmp_path, epochs=1)
    before = checkpoints.list()
    with full_disk, pytest.raises(OSError, match="Could not write .* epoch 2, .*Free space"):
        checkpoints.save(model, 2)
    assert checkpoints.list() == before
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", *FILES[0]}
    assert checkpoints.restore(tiny_simclr()).epoch == 1


def test_an_unwritable_folder_ends_the_run_with_an_error(images, tmp_path):
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    model = tiny_simclr()
    callback = CheckpointCallback(Checkpoints(tmp_path / "checkpoints"))
    with pytest.raises(
        OSError, match="Could not write the checkpoint of epoch 1, .*make the folder"
    ):
        model.fit(images, batch_size=16, verbose=0, callbacks=[callback])


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(images, tmp_path):
    model, checkpoints = trained(images, tmp_path)
    good = state(tiny_restored(checkpoints))
    model.optimizer.learning_rate = float("nan")
    with pytest.raises(FloatingPointError, match="epoch 4"):
        model.fit(
            images,
            batch_size=16,
            initial_epoch=3,
            epochs=5,
            verbose=0,
            callbacks=[CheckpointCallback(checkpoints)],
        )
    assert [record["epoch"] for record in checkpoints.list()] == [2, 3]
    assert_same_state(tiny_restored(checkpoints), good)


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    checkpoints, model = logged({"loss": 1.0})(tmp_path), tiny_simclr()
    kernel = model.trainable_variables[0]
    kernel.assign(np.where(np.arange(kernel.shape[-1]) == 1, np.inf, kernel.numpy()))
    with pytest.raises(FloatingPointError, match="After step 0 the weights .* no longer finite"):
        checkpoints.save(model, 2)
    assert [record["epoch"] for record in checkpoints.list()] == [1]


def logged(*logs, **options):
    """A function of a folder that writes one checkpoint per epoch, with these logs."""

    def saved(folder):
        model, checkpoints = tiny_simclr(), Checkpoints(folder, **options)
        for epoch, log in enumerate(logs, 1):
            model.step.assign(10 * epoch)
            checkpoints.save(model, epoch, logs=log)
        return checkpoints

    return saved


@pytest.mark.parametrize(
    "saved, best, kept",
    [
        (logged({"loss": 2.0}, {"loss": 1.0}, {"loss": 3.0}, {"loss": 4.0}), 2, [2, 3, 4]),
        (logged({"loss": 2.0}, {"loss": 3.0}, {"loss": 1.0}, {"loss": 4.0}), 3, [3, 4]),
        (logged({"loss": 1.0, "knn": 0.4}, {"loss": 2.0, "knn": 0.6}, {}, {}), 2, [2, 3, 4]),
        (logged({"knn": 0.6}, {"knn": float("nan"), "loss": 1.0}, {"knn": 0.5}, keep=1), 1, [1, 3]),
        (logged({"a": 2}, {"a": 3}, {"a": 1}, {}, monitor="a", mode="max", keep=1), 2, [2, 4]),
        (logged({"a": 2}, {"a": 1}, {"a": 3}, {}, monitor="a", mode="min", keep=1), 2, [2, 4]),
        (logged({}, {}, {}, keep=1), None, [3]),
    ],
)
def test_the_best_is_kept_beside_the_newest(saved, best, kept, tmp_path):
    checkpoints = saved(tmp_path)
    assert [record["epoch"] for record in checkpoints.list()] == kept
    assert {path.name for path in tmp_path.glob("epoch-*")} == {
        name for epoch in kept for name in FILES[epoch - 1]
    }
    assert checkpoints.restore(tiny_simclr()).epoch == kept[-1]
    if best is None:
        assert checkpoints.best() is None
        with pytest.raises(OSError, match="has no best checkpoint"):
            checkpoints.restore_best(tiny_simclr())
    else:
        again = tiny_simclr()
        assert checkpoints.restore_best(again) == Position(best, 0, 10 * best)
        assert int(again.step) == 10 * best
        manifest = json.loads((tmp_path / "manifest.json").read_text())
        assert manifest["best"] == FILES[best - 1][0]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"keep": 0}, "keep must be at least 1 checkpoint; received 0"),
        ({"monitor": "purity"}, "mode must be .* 'purity' is better; received None"),
        ({"monitor": "knn", "mode": "high"}, "received 'high'"),
    ],
)
def test_an_impossible_number_to_keep_is_refused(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        Checkpoints(tmp_path, **options)


def offsets(size, count):
    """The first and last bytes, and others evenly spaced between them."""
    return sorted({*range(8), *range(size - 8, size), *np.linspace(0, size - 1, count, dtype=int)})


def test_every_flipped_byte_is_detected_and_costs_at_most_the_newest(tmp_path, caplog):
    """Steps 10 and 20 differ only in the model's step; nothing else may ever be restored."""
    checkpoints, model = logged({"loss": 2.0}, {"loss": 1.0})(tmp_path), tiny_simclr()
    flipped = 0
    for name in [*FILES[1], FILES[0][1], "manifest.json"]:
        data, step = (tmp_path / name).read_bytes(), 10 if name.endswith("npz") else 20
        for at in offsets(len(data), 100):
            damaged = bytearray(data)
            damaged[at] ^= 1 << at % 8
            (tmp_path / name).write_bytes(damaged)
            caplog.clear()
            assert checkpoints.restore(model) == Position(step // 10, 0, step), (name, at)
            assert int(model.step) == step
            assert "is damaged" in caplog.text and name in caplog.text, (name, at)
            flipped += 1
        (tmp_path / name).write_bytes(data)
    assert flipped > 400
    caplog.clear()
    assert checkpoints.restore(model).step == 20 and not caplog.text


@pytest.mark.parametrize("lost", ["manifest.json", "epoch-*.json"])
def test_the_manifest_and_the_records_replace_each_other(lost, tmp_path):
    checkpoints = logged({"loss": 2.0}, {"loss": 1.0})(tmp_path)
    records = checkpoints.list()
    for path in tmp_path.glob(lost):
        path.unlink()
    assert checkpoints.list() == records and checkpoints.restore(tiny_simclr()).epoch == 2


def test_without_an_intact_record_training_does_not_restart(tmp_path):
    checkpoints = logged({"loss": 2.0})(tmp_path)
    for path in tmp_path.glob("*.json"):
        path.write_bytes(b"{")
    with pytest.raises(OSError, match="All checkpoints in .* are damaged"):
        checkpoints.restore(tiny_simclr())


class Died(BaseException):
    pass


@pytest.mark.parametrize("spot", SPOTS)
def test_death_within_the_write_leaves_the_old_or_the_new(spot, tmp_path, monkeypatch):
    """Like tools/kill_test.py, which kills processes, but with an exception at the same spots."""

    def die():
        raise Died

    folder = tmp_path / "checkpoints"
    checkpoints, model = logged({"loss": 1.0}, {"loss": 2.0}, keep=1)(folder), tiny_simclr()
    checkpoints.restore(model)
    model.step.assign(30)
    with monkeypatch.context() as patched:
        Death(spot, die=die).arm(patched.setattr)
        # A death while old ones are removed needs some to remove.
        patched.setattr(checkpoints, "keep", 1)
        with pytest.raises(Died):
            checkpoints.save(model, 3, logs={"loss": 0.5})
    # The record's name is what makes a checkpoint count.
    is_new = SPOTS.index(spot) >= SPOTS.index("renamed the record")
    again = tiny_simclr()
    assert checkpoints.restore(again).step == int(again.step) == (30 if is_new else 20)
    # The next checkpoint tidies up.
    checkpoints.save(model, 4, logs={"loss": 0.1})
    assert {path.name for path in folder.iterdir()} == {"manifest.json", *FILES[3]}


def test_all_replicas_resume_from_one_checkpoint(tmp_path, mirrored):
    """Including the metrics of each replica, which TensorFlow would distribute among them."""
    checkpoints, models = Checkpoints(tmp_path), []
    for _ in range(2):
        with mirrored.scope():
            models.append(tiny_simclr())
    two, again = models
    for copy in two.loss_metric.total.value.values:
        copy.assign(0.1)
    kernel = two.trainable_variables[0]
    kernel.assign(kernel + 1)
    two.step.assign(7)
    checkpoints.save(two, 1)
    assert checkpoints.restore(again) == Position(1, 0, 7)
    assert_same_state(again, state(two))
    for model in models:
        copies = model.loss_metric.total.value.values
        assert [copy.numpy() for copy in copies] == [np.float32(0.1)] * 2


def test_workers_that_see_different_folders_get_an_error(tmp_path, monkeypatch):
    checkpoints = logged({"loss": 1.0})(tmp_path)
    monkeypatch.setattr(distribute, "from_every_worker", lambda step: [step, 0])
    with pytest.raises(OSError, match="of the steps 10, 0. Give all a shared folder"):
        checkpoints.restore(tiny_simclr())


def tiny_restored(checkpoints):
    model = tiny_simclr()
    checkpoints.restore(model)
    return model


def test_a_checkpoint_of_another_run_is_not_restored(tmp_path):
    """Another seed, another method, or other declared facts of the run."""
    checkpoints = logged({"loss": 1.0}, run={"data": "photos"})(tmp_path)
    other = tiny_simclr()
    other.seed += 1
    with pytest.raises(ValueError, match="of another run:\n  seed: 0 in the checkpoint, 1 now"):
        checkpoints.restore(other)
    with pytest.raises(ValueError, match="data: 'photos' in the checkpoint, 'cats' now"):
        Checkpoints(tmp_path, run={"data": "cats"}).restore(tiny_simclr())
    assert Checkpoints(tmp_path).restore(tiny_simclr()).epoch == 1


def test_another_batch_size_is_not_resumed(images, tmp_path):
    trained(images, tmp_path, epochs=1)
    again, checkpoints = tiny_simclr(), Checkpoints(tmp_path)
    assert checkpoints.restore(again).epoch == 1
    options = {"initial_epoch": 1, "epochs": 2, "verbose": 0}
    callback = CheckpointCallback(checkpoints)
    with pytest.raises(ValueError, match="batch_size: 16 in the checkpoint, 8 now"):
        again.fit(images, batch_size=8, callbacks=callback, **options)
    again.fit(images, batch_size=16, callbacks=callback, **options)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": -1},
        {"batch": True},
        {"step": "7"},
        {"file": "../../other.npz"},
        {"sha256": "0"},
        {"logs": {"loss": "low"}},
        {"run": None},
    ],
)
def test_an_invalid_record_counts_as_damaged(change, tmp_path, caplog):
    """Its checksum may be right: another version, or a person, may have written it."""
    checkpoints = logged({"loss": 2.0}, {"loss": 1.0})(tmp_path)
    path = tmp_path / FILES[1][1]
    record = checksummed_json.loads(path.read_bytes())
    (tmp_path / "manifest.json").unlink()
    missing = {name: value for name, value in record.items() if name not in change}
    for bad in ({**record, **change}, missing):
        path.write_text(checksummed_json.dumps(bad))
        caplog.clear()
        assert checkpoints.restore(tiny_simclr()).epoch == 1
        assert f"no valid {next(iter(change))!r}" in caplog.text
