import pytest

from cl_keras.runs import MetricsLog, metrics_log, read_metrics
from tests.tiny import tiny_simclr


def test_a_resumed_epoch_counts_the_images_of_its_rest(images, tmp_path, monkeypatch):
    """Two seconds for one of two steps of 16 images."""
    now = iter([10.0, 12.0])
    monkeypatch.setattr(metrics_log.time, "perf_counter", lambda: next(now))
    model = tiny_simclr()
    model.compile(model.optimizer, run_eagerly=True)
    model.step.assign(1)
    path = tmp_path / "metrics.csv"
    options = {"batch_size": 16, "initial_batch": 1, "verbose": 0}
    model.fit(images, callbacks=[MetricsLog(path, 32)], **options)
    table = read_metrics(path)
    assert (table["epoch"], table["step"]) == ([1], [2])
    assert (table["seconds"], table["images_per_second"]) == ([2.0], [8.0])


TABLE = b"epoch,step,seconds,loss\n1,2,3.5,0.25\n2,4,3.5,\n"


@pytest.mark.parametrize(
    "damage",
    [
        TABLE[:-12],
        TABLE + b"\xff\xfe\n",
        TABLE.replace(b"3.5", b"three"),
        TABLE.replace(b"step", b"steps"),
        TABLE + b"3,6\n",
        TABLE + b"nan,6,1,1\n",
        TABLE.replace(b"1,2", b'"1,2'),
        bytes(100),
    ],
)
def test_a_damaged_table_does_not_stop_a_run(damage, images, tmp_path, caplog):
    path = tmp_path / "metrics.csv"
    path.write_bytes(damage)
    with pytest.raises(ValueError, match=f"{path} is damaged"):
        read_metrics(path)
    model = tiny_simclr()
    model.compile(model.optimizer, run_eagerly=True)
    model.fit(images, batch_size=32, verbose=0, callbacks=[MetricsLog(path, 32)])
    assert read_metrics(path)["epoch"] == [1]
    assert (tmp_path / "metrics.csv.damaged").read_bytes() == damage
    assert "metrics.csv.damaged" in caplog.text


def test_a_whole_table_is_read(tmp_path):
    (tmp_path / "metrics.csv").write_bytes(TABLE)
    expected = {"epoch": [1, 2], "step": [2, 4], "seconds": [3.5, 3.5], "loss": [0.25, None]}
    assert read_metrics(tmp_path / "metrics.csv") == expected
