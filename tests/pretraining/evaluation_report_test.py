import numpy as np
import pytest

from cl_keras import data, report
from cl_keras.pretraining import evaluation_report, judgment
from tests.tiny import tiny_encoder


@pytest.mark.parametrize("sizes, uneven", [((24, 8), True), ((16, 16), False)])
def test_baselines_are_drawn_on_the_scale_of_the_training_curve(
    sizes, uneven, tmp_path, monkeypatch
):
    """The logged k-NN accuracy counts every image equally, even if the tables do not."""
    labels = np.repeat([0, 1], sizes)
    noise = np.random.default_rng(0).integers(0, 200, [32, 8, 8, 1])
    train = data.load((noise + 40 * labels[:, None, None, None]).astype("uint8"), labels=labels)
    test = data.Subset(train, range(4, 28))
    result = judgment.evaluate_encoder(tiny_encoder(), tiny_encoder(), train, test)
    assert result.verdict.balanced == uneven
    written = {}
    monkeypatch.setattr(report, "write", lambda path, **parts: written.update(parts))
    evaluation_report.write(tmp_path / "report.html", result, train, test)
    drawn = written["baselines"]["knn"]
    for name in ("raw pixels", "PCA-128, whitened", "untrained encoder"):
        assert drawn[name] == result.by_name[name]["knn"].hits.mean()
    assert (evaluation_report.UNEVEN in written["notes"]) == uneven
