import resource
import signal

import numpy as np
import pytest

from cl_keras.runs import CheckpointCallback, Checkpoints, Place
from tests.tiny import tiny_simclr

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


def test_the_newest_comes_back_with_all_state_and_the_oldest_goes(images, tmp_path):
    model, checkpoints = trained(images, tmp_path)
    assert [record["epoch"] for record in checkpoints.list()] == [2, 3]
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"manifest.json", *FILES[1], *FILES[2]}
    again = tiny_simclr()
    assert checkpoints.restore(again) == Place(epoch=3, batch=0, step=6)
    # Metrics are begun anew at every epoch; all else must be there, momentum and step too.
    for metric in again.metrics:
        metric.reset_state()
    for metric in model.metrics:
        metric.reset_state()
    assert_same_state(again, state(model))
    assert int(again.step) == 6


def test_nothing_there_is_epoch_zero(tmp_path):
    place = Checkpoints(tmp_path / "none").restore(tiny_simclr())
    assert place == Place(0, 0, 0) and not place and Place(0, 1, 1)


@pytest.mark.parametrize("harm", ["flip", "truncate", "remove"])
def test_a_broken_one_is_found_and_the_one_before_it_taken(images, tmp_path, harm, caplog):
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
    assert "is broken; trying the one before it" in caplog.text


def test_one_of_another_model_is_refused(images, tmp_path):
    _, checkpoints = trained(images, tmp_path)
    with pytest.raises(ValueError, match="It was made by another model"):
        checkpoints.restore(tiny_simclr(head="v2"))


def test_when_all_are_broken_it_says_so(images, tmp_path):
    _, checkpoints = trained(images, tmp_path)
    for path in tmp_path.glob("*.npz"):
        path.write_bytes(b"")
    with pytest.raises(OSError, match="None of the checkpoints in .* is whole"):
        checkpoints.restore(tiny_simclr())


def test_a_file_that_the_manifest_does_not_name_is_no_checkpoint(images, tmp_path):
    _, checkpoints = trained(images, tmp_path)
    (tmp_path / FILES[3][0]).write_bytes(b"half")
    assert checkpoints.restore(tiny_simclr()).epoch == 3


def test_a_full_disk_ends_the_run_with_a_word_and_the_last_checkpoint(images, tmp_path):
    """A limit on the size of files stands in for the full disk: the write itself fails."""
    model, checkpoints = trained(images, tmp_path, epochs=1)
    before = checkpoints.list()
    old_limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    old_handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, old_limits[1]))
        with pytest.raises(OSError, match="Could not write .* epoch 2, .*Free space"):
            checkpoints.save(model, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old_limits)
        signal.signal(signal.SIGXFSZ, old_handler)
    assert checkpoints.list() == before
    assert {path.name for path in tmp_path.iterdir()} == {"manifest.json", *FILES[0]}
    assert checkpoints.restore(tiny_simclr()).epoch == 1


def test_an_unwritable_folder_ends_the_run_with_a_word(images, tmp_path):
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


def tiny_restored(checkpoints):
    model = tiny_simclr()
    checkpoints.restore(model)
    return model
