"""One, two and four devices and two processes give the same result, for every method."""

import numpy as np
import pytest

from tests import processes
from tests.conformance.descriptors import EVERY_METHOD, OPTIONS

TOLERANCE = 1e-9
QUICK = ["ToyMethod", "SimCLR", "MoCo", "InstDisc", "SwAV", "PCL"]
"""One for each way to need other replicas, and one that does not need them."""

FORGETFUL = ["SimCLR", "MoCo", "SwAV", "PCL"]
"""What replicas need of each other: keys, a queue, sums, clusters."""


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """Results of one device, for the requested methods; each is trained once."""
    folder, found = tmp_path_factory.mktemp("alone"), {}

    def train_once(names):
        missing = [name for name in names if name not in found]
        if missing:
            path = folder / f"{len(found)}.npz"
            [arrays] = train("one", path, "--only", *missing)
            found.update(dict.fromkeys(missing, arrays))
        return {
            key: found[name][key]
            for name in names
            for key in found[name].files
            if key.startswith(f"{name}:")
        }

    return train_once


def train(on, path, *more):
    arguments = ["tests.conformance.replicas", f"--on={on}", *more]
    if on == "workers":
        paths = [path.with_suffix(f".{i}.npz") for i in range(2)]
        processes.finish(processes.start_workers(2, lambda i: [*arguments, f"--out={paths[i]}"]))
        return [np.load(path) for path in paths]
    processes.finish([processes.start([*arguments, f"--out={path}"])])
    return [np.load(path)]


def differences(received, expected, kinds=("loss", "gradient", "state")):
    """One line for each difference: "method:kind/place/variable: how"."""
    found = []
    for key, value in expected.items():
        if key.split(":")[1].split("/")[0] not in kinds:
            continue
        if key not in received.files:
            found.append(f"{key}: missing")
            continue
        distance = np.max(np.abs(received[key] - value), initial=0.0)
        if not distance <= TOLERANCE:
            found.append(f"{key}: {distance}")
    copies = [key for key in received.files if key.endswith(":differ")]
    return found + [f"{key}: {received[key]}" for key in copies if len(received[key])]


def test_every_method_is_compared_in_loss_gradient_and_state(alone):
    found = alone(QUICK)
    for name in QUICK:
        own = [key for key in found if key.startswith(f"{name}:")]
        kinds = {key.split(":")[1].split("/")[0] for key in own}
        assert {"loss", "gradient", "state", "differ"} == kinds
        assert len(found[f"{name}:loss"]) >= 3 and np.isfinite(found[f"{name}:loss"]).all()
        # A gradient of nothing would equal any other.
        slopes = [found[key] for key in own if ":gradient/" in key]
        assert max(np.abs(slope).max() for slope in slopes) > 1e-3


@pytest.mark.parametrize(
    "on, names",
    [
        pytest.param("two", QUICK),
        pytest.param("two", [n for n in OPTIONS if n not in QUICK], marks=pytest.mark.slow),
        pytest.param("four", EVERY_METHOD, marks=pytest.mark.slow),
        pytest.param("workers", EVERY_METHOD, marks=pytest.mark.slow),
    ],
)
def test_replicas_equal_one(on, names, alone, tmp_path):
    """Compares loss, gradient and every variable; the copies are equal bit for bit."""
    received = train(on, tmp_path / f"{on}.npz", "--only", *names)
    assert {key.split(":")[0] for key in received[0].files} == set(names)
    assert differences(received[0], alone(names)) == []
    for other in received[1:]:
        for key in other.files:
            np.testing.assert_array_equal(other[key], received[0][key], err_msg=key)


@pytest.mark.parametrize(
    "names",
    [
        FORGETFUL,
        pytest.param([n for n in EVERY_METHOD if n not in FORGETFUL], marks=pytest.mark.slow),
    ],
)
def test_replicas_that_ignore_the_others_are_detected(names, alone, tmp_path):
    [received] = train("two", tmp_path / "broken.npz", "--broken", "--only", *names)
    # The logged loss is a mean over replicas, and would tell by itself.
    found = differences(received, alone(names), kinds=("gradient", "state"))
    assert not any(line.endswith("missing") for line in found)
    assert {line.split(":")[0] for line in found} == set(names)
