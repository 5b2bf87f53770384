import json
import os
import time

import keras
import numpy as np
import pytest

from cl_keras.data.identity import Identity, Image
from cl_keras.runs import MetricsLog, Run, read_metrics
from tests.tiny import tiny_encoder, tiny_simclr


def begin(folder, config=None, **options):
    """A new run."""
    run = Run(folder, {} if config is None else config, **options)
    with run.locked():
        pass
    return run


def test_a_run_reopens_only_with_its_own_configuration(tmp_path):
    config = {"data": "photos", "epochs": 3, "crop": (0.2, 1.0)}
    begin(tmp_path / "run", config)
    begin(tmp_path / "run", config)
    assert Run(tmp_path / "run").config == {"data": "photos", "epochs": 3, "crop": [0.2, 1.0]}


def test_another_configuration_is_refused_and_nothing_changes(tmp_path):
    begin(tmp_path, {"data": "photos", "epochs": 3})
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(ValueError, match="epochs: 3 in the run, 4 now") as error:
        Run(tmp_path, {"data": "photos", "epochs": 4})
    assert "data" not in str(error.value).split("configuration")[1].split("Nothing")[0]
    assert (tmp_path / "config.json").read_bytes() == before


def test_nothing_is_written_before_the_lock(tmp_path):
    """So only the configuration of the process that trains is ever in the folder."""
    first, second = (Run(tmp_path / "run", {"epochs": epochs}) for epochs in (3, 4))
    assert not (tmp_path / "run").exists()
    with first.locked():
        with pytest.raises(OSError, match="Another process is training"), second.locked():
            pass
        assert Run(tmp_path / "run").config == {"epochs": 3}
    with pytest.raises(ValueError, match="epochs: 3 in the run, 4 now"), second.locked():
        pass
    assert Run(tmp_path / "run").config == {"epochs": 3}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_two_concurrent_processes_are_never_mixed_up(tmp_path):
    """One trains with its own configuration; the other gets an error that says why it cannot."""
    draws = np.random.default_rng(0)
    for start in range(20):
        folder, gate = tmp_path / str(start), os.pipe()
        delays = draws.uniform(0, 0.005, 2)
        processes = [begin_in_a_fork(folder, epochs, gate[0], delays[epochs]) for epochs in (0, 1)]
        os.write(gate[1], b"go")
        codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
        assert sorted(codes) == [0, 1]
        assert Run(folder).config == {"epochs": codes.index(0)}


def begin_in_a_fork(folder, epochs, gate, delay):
    process = os.fork()
    if process:
        return process
    try:
        os.read(gate, 1)
        time.sleep(delay)
        with Run(folder, {"epochs": epochs}).locked() as run:
            time.sleep(0.003)
            os._exit(0 if Run(folder).config == run.config else 3)
    except (ValueError, OSError) as error:
        known = "another configuration" in str(error) or "Another process" in str(error)
        os._exit(1 if known else 2)
    finally:
        os._exit(4)


def test_leftovers_of_a_process_killed_at_the_start_do_no_harm(tmp_path):
    (tmp_path / ".lock").touch()
    (tmp_path / ".writing-7-config.json").write_text("{")
    begin(tmp_path, {"epochs": 3})
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {".lock", "config.json", "versions.json"}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"7", b"\xff\xfe", b"[" * 100_000])
def test_a_damaged_configuration_is_explained(content, tmp_path):
    begin(tmp_path, {"epochs": 3})
    (tmp_path / "config.json").write_bytes(content)
    for config in (None, {"epochs": 3}):
        with pytest.raises(ValueError, match="config.json is damaged"):
            Run(tmp_path, config)
    assert (tmp_path / "config.json").read_bytes() == content


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ValueError, match="is not empty but holds no run; nothing was written"):
        Run(tmp_path, {"epochs": 3})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_missing_run_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no run"):
        Run(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="has no encoder.keras: the run is not finished"):
        begin(tmp_path / "run").load_encoder()


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="Cannot write the run folder"):
        begin(tmp_path / "file" / "run")


def test_a_lock_that_is_a_link_or_a_pipe_is_refused(tmp_path):
    (tmp_path / "thesis").write_text("years of work")
    for make in (lambda path: path.symlink_to(tmp_path / "thesis"), os.mkfifo):
        run = tmp_path / make.__name__
        run.mkdir()
        make(run / ".lock")
        with pytest.raises(OSError, match="Cannot lock"):
            begin(run)
    assert (tmp_path / "thesis").read_text() == "years of work"


def test_only_one_process_writes(tmp_path):
    run = begin(tmp_path)
    with run.locked():
        with pytest.raises(OSError, match="Another process is training"):
            with Run(tmp_path).locked():
                pass
    with run.locked():
        versions = json.loads((tmp_path / "versions.json").read_text())
    assert versions["keras"] == keras.__version__


def identity(*names, unreadable=()):
    images = [Image(name, f"bytes of {name}", name not in unreadable) for name in names]
    return Identity({"kind": "folder", "num_images": len(names)}, tuple(images))


@pytest.mark.parametrize(
    "now, message",
    [
        (identity("a", "c", "d"), r"1 vanished \(b\); 1 added \(d\)"),
        (identity("a", "b"), r"1 vanished \(c\)"),
        (identity("a", "b", "c", "d"), r"1 added \(d\)"),
    ],
)
def test_other_images_are_named_and_refused(now, message, tmp_path):
    begin(tmp_path, images=identity("a", "b", "c"))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=f"not those with which it began: .*{message}"):
        Run(tmp_path, {}, images=now)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_same_number_of_other_images_can_be_allowed(tmp_path, caplog):
    begin(tmp_path, images=identity("a", "b"))
    begin(tmp_path, images=identity("a", "c"), allow_changed_images=True)
    assert "as allowed: 1 vanished (b); 1 added (c)" in caplog.text
    begin(tmp_path, images=identity("a", "c"))  # they are those of the run now
    with pytest.raises(ValueError, match="added"):
        Run(tmp_path, {}, images=identity("a", "c", "d"), allow_changed_images=True)


def test_a_file_that_broke_keeps_its_row(tmp_path, caplog):
    begin(tmp_path, images=identity("a", "b"))
    begin(tmp_path, images=identity("a", "b", unreadable=["b"]))
    assert "keep their rows: 1 spoiled (b)" in caplog.text
    assert json.loads((tmp_path / "images.json").read_text())["images"][1] == ["b", "bytes of b"]


def test_a_damaged_list_of_images_is_explained(tmp_path):
    begin(tmp_path, images=identity("a", "b"))
    (tmp_path / "images.json").write_bytes(b"{}")
    with pytest.raises(ValueError, match="images.json is damaged"):
        Run(tmp_path, {}, images=identity("a", "b"))


def test_the_encoder_is_restored(tmp_path, images):
    run = begin(tmp_path)
    encoder = tiny_encoder()
    run.save_encoder(encoder)
    np.testing.assert_array_equal(run.load_encoder()(images), encoder(images))


def test_an_encoder_that_cannot_be_written_names_its_path(tmp_path, full_disk):
    run, encoder = begin(tmp_path), tiny_encoder()
    with full_disk, pytest.raises(OSError, match=f"Could not write {run.encoder_path}: .*Free"):
        run.save_encoder(encoder)
    assert not run.encoder_path.exists() and not list(tmp_path.glob(".writing-*"))


def test_a_damaged_encoder_is_explained(tmp_path, images):
    """Truncated anywhere, or with bytes flipped in its directory, settings and weights."""
    run, encoder = begin(tmp_path), tiny_encoder()
    run.save_encoder(encoder)
    data = run.encoder_path.read_bytes()
    draws = np.random.default_rng(0)
    damaged = [data[: int(share * len(data))] for share in (0, 0.01, 0.5, 0.999)]
    for at in draws.integers(0, len(data), 20):
        damaged.append(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
    refused = 0
    for content in damaged:
        run.encoder_path.write_bytes(content)
        try:
            np.testing.assert_array_equal(run.load_encoder()(images), encoder(images))
        except ValueError as error:
            assert "encoder.keras is damaged" in str(error)
            refused += 1
    assert refused >= 10


def test_a_run_leaves_its_metrics_and_tensorboard_logs(images, tmp_path):
    run = begin(tmp_path)
    model = tiny_simclr()
    history = model.fit(
        images, batch_size=16, epochs=3, verbose=0, callbacks=run.callbacks(32)
    ).history
    metrics = run.metrics()
    assert list(metrics)[:5] == ["epoch", "step", "seconds", "images_per_second"] + [
        "contrastive_accuracy"
    ]
    np.testing.assert_allclose(metrics["loss"], history["loss"])
    assert metrics["epoch"] == [1, 2, 3] and metrics["step"] == [2, 4, 6]
    np.testing.assert_allclose(metrics["learning_rate"], [0.05] * 3, rtol=1e-6)
    events = list((tmp_path / "tensorboard").rglob("events*"))
    assert events and all(path.stat().st_size > 100 for path in events)


def test_repeated_epochs_are_not_counted_twice(images, tmp_path):
    path = tmp_path / "metrics.csv"
    model = tiny_simclr()
    log = [MetricsLog(path, 32)]
    model.fit(images, batch_size=16, epochs=3, verbose=0, callbacks=log)
    first = read_metrics(path)
    model.fit(images, batch_size=16, initial_epoch=1, epochs=4, verbose=0, callbacks=log)
    second = read_metrics(path)
    assert second["epoch"] == [1, 2, 3, 4]
    assert second["loss"][0] == first["loss"][0] and second["loss"][1] != first["loss"][1]


def test_a_later_column_is_empty_in_earlier_rows(images, tmp_path):
    path = tmp_path / "metrics.csv"

    class Late(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 1:
                logs["knn"] = 0.5

    tiny_simclr().fit(
        images, batch_size=16, epochs=2, verbose=0, callbacks=[Late(), MetricsLog(path, 32)]
    )
    assert read_metrics(path)["knn"] == [None, 0.5]
    assert read_metrics(tmp_path / "none.csv") == {}
