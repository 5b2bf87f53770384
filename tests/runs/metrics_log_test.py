from cl_keras.runs import MetricsLog, metrics_log, read_metrics
from tests.tiny import tiny_simclr


def test_an_epoch_that_is_taken_up_counts_the_images_of_its_rest(images, tmp_path, monkeypatch):
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
