"""One device is two is four is two processes, for every method."""

import fcntl
import os

import numpy as np
import pytest

from tests import processes
from tests.conformance.descriptors import OPTIONS

TOLERANCE = 1e-9
EVERY_METHOD = [name for name in OPTIONS if "," not in name]
"""Without variants, for the ways that take longest."""


@pytest.fixture(scope="session")
def alone(tmp_path_factory):
    """What one device does; trained once, also where the tests run in several processes."""
    folder = tmp_path_factory.getbasetemp()
    folder = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    path = folder / "one_device.npz"
    with open(folder / "one_device.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            train("one", path)
    return np.load(path)


def train(on, path, *more):
    arguments = ["tests.conformance.replicas", f"--on={on}", *more]
    if on == "workers":
        paths = [path.with_suffix(f".{i}.npz") for i in range(2)]
        processes.finish(processes.start_workers(2, lambda i: [*arguments, f"--out={paths[i]}"]))
        return [np.load(path) for path in paths]
    processes.finish([processes.start([*arguments, f"--out={path}"])])
    return [np.load(path)]


def differences(received, expected, names, kinds=("loss", "gradient", "state")):
    """One line for each thing that is not the same: "method:kind/place/variable: how"."""
    found = []
    for key in expected.files:
        name, kind = key.split(":")[0], key.split(":")[1].split("/")[0]
        if name not in names or kind not in kinds:
            continue
        if key not in received.files:
            found.append(f"{key}: missing")
            continue
        distance = np.max(np.abs(received[key] - expected[key]), initial=0.0)
        if not distance <= TOLERANCE:
            found.append(f"{key}: {distance}")
    copies = [key for key in received.files if key.endswith(":differ")]
    return found + [f"{key}: {received[key]}" for key in copies if len(received[key])]


def test_every_method_is_compared_in_loss_gradient_and_state(alone):
    for name in OPTIONS:
        kinds = [k.split(":")[1].split("/")[0] for k in alone.files if k.startswith(f"{name}:")]
        assert {"loss", "gradient", "state", "differ"} == set(kinds)
        assert len(alone[f"{name}:loss"]) >= 3 and np.isfinite(alone[f"{name}:loss"]).all()
        # A gradient of nothing would equal any other.
        slopes = [alone[k] for k in alone.files if k.startswith(f"{name}:gradient/")]
        assert max(np.abs(slope).max() for slope in slopes) > 1e-3


@pytest.mark.parametrize(
    "on, names",
    [
        ("two", list(OPTIONS)),
        pytest.param("four", EVERY_METHOD, marks=pytest.mark.slow),
        pytest.param("workers", EVERY_METHOD, marks=pytest.mark.slow),
    ],
)
def test_replicas_equal_one(on, names, alone, tmp_path):
    """Loss, gradient and every variable; the copies are alike bit for bit."""
    received = train(on, tmp_path / f"{on}.npz", "--only", *names)
    assert {key.split(":")[0] for key in received[0].files} == set(names)
    assert differences(received[0], alone, names) == []
    for other in received[1:]:
        for key in other.files:
            np.testing.assert_array_equal(other[key], received[0][key], err_msg=key)


def test_replicas_that_forget_the_others_are_found(alone, tmp_path):
    [received] = train("two", tmp_path / "broken.npz", "--broken", "--only", *EVERY_METHOD)
    # The logged loss is a mean over replicas, and would tell by itself.
    found = differences(received, alone, EVERY_METHOD, kinds=("gradient", "state"))
    assert not any(line.endswith("missing") for line in found)
    assert {line.split(":")[0] for line in found} == set(EVERY_METHOD)
