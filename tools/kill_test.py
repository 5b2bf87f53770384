"""Kills a run repeatedly, and compares its result with that of a run left alone.

  python tools/kill_test.py --kills 50 --inside_write 20

`cl-keras pretrain` trains a small MoCo, or another method, on generated images. It gets SIGKILL at
random moments and, through tools/die_in_write.py, at given moments of the write of a checkpoint;
the same command resumes the run each time. After every kill all recorded checkpoints must be
readable, and at the end all variables, the encoder and the metrics must equal those of an
uninterrupted run bit for bit.

--changes N: after N of the kills an image vanishes, is added, is replaced, or becomes unreadable.
The next start must refuse the first three by name and change nothing, and must accept the last with
all indices as they were; then the image is restored. --train_on_changes: the run trains without the
unreadable image until the next kill. Its result is then a different one, and is not compared.
--method instdisc: at the end each image must still be nearest to its own row of the memory bank.
The files are read and embedded here, by the names of the rows in images.json. --workers 2: two
processes train together, and one of them is killed. The other must then end by itself, and say why.

The exit code is 1 if anything differs.
"""

import argparse
import json
import os
import pathlib
import random
import socket
import subprocess
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from die_in_write import SPOTS  # noqa: E402
from PIL import Image  # noqa: E402
from run_checks import differences, rows_of_other_images, unreadable  # noqa: E402

IMAGES, BATCH = 192, 16
STEPS_PER_EPOCH = IMAGES // BATCH
STEPS_PER_DEATH = 12
"""On average; the length of the run follows from it."""

OPTIONS = {
    "moco": {"queue_size": 64, "shuffle_bn_groups": 1},
    "deepcluster": {"num_clusters": 8},
    "instdisc": {"loss": "softmax", "temperature": 0.1},
    "simclr": {},
}
CHANGES = ("vanishes", "is added", "is replaced", "becomes unreadable")
PATIENCE = 900
"""Seconds within which a process must make progress, or end."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="kills at random moments")
    parser.add_argument(
        "--inside_write", type=int, default=20, help="kills while a checkpoint is saved"
    )
    parser.add_argument(
        "--changes", type=int, default=8, help="changes of the images, between kills"
    )
    parser.add_argument(
        "--train_on_changes", action="store_true", help="train while an image is unreadable"
    )
    parser.add_argument("--workers", type=int, default=1, choices=[1, 2])
    parser.add_argument("--method", default="moco", choices=list(OPTIONS))
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    arguments = parser.parse_args()
    if arguments.workers > 1 and arguments.inside_write:
        parser.error("--inside_write works with one worker only; give --inside_write 0.")
    with tempfile.TemporaryDirectory(prefix="kill_test_") as folder:
        sys.exit(0 if survives(pathlib.Path(folder), arguments) else 1)


def survives(folder, arguments):
    """Whether a killed run ends like an uninterrupted one; prints a line for each kill."""
    draws = random.Random(arguments.seed)
    deaths = [None] * arguments.kills
    deaths += [SPOTS[i % len(SPOTS)] for i in range(arguments.inside_write)]
    draws.shuffle(deaths)
    # The rows of a bank can be told apart only after many epochs.
    least = 100 if arguments.method == "instdisc" else 4
    epochs = max(least, -(-len(deaths) * STEPS_PER_DEATH // STEPS_PER_EPOCH))
    if arguments.train_on_changes:  # a quarter of the changes, for as long as between kills
        epochs += arguments.changes // len(CHANGES) * STEPS_PER_DEATH // STEPS_PER_EPOCH + 1
    write_images(folder / "images")
    start = Starter(folder, arguments.method, arguments.workers, epochs)

    if not arguments.train_on_changes:
        begin = time.monotonic()
        end_well(start(folder / "whole"))
        print(f"uninterrupted: {epochs * STEPS_PER_EPOCH} steps, {time.monotonic() - begin:.0f} s")
    run, complaints, changes = folder / "killed", [], 0
    last = max(1, len(deaths) - 1) * STEPS_PER_DEATH
    moments = sorted(draws.randrange(last) for _ in deaths)
    for number, (spot, moment) in enumerate(zip(deaths, moments, strict=True), 1):
        if spot is None:
            event, problems = kill_at(start, run, moment, draws)
            complaints += problems
        else:
            count = draws.randint(1, 3)
            (process,) = start(run, "tools/die_in_write.py", spot, str(count))
            event = f"{spot}, write {count}"
            if process.wait(PATIENCE) != -9:
                complaints.append(f"kill {number} did not happen")
        found = unreadable(run / "checkpoints")
        complaints += found
        print(f"{number:3}: {event}; at step {newest_step(run)}; unreadable: {len(found)}")
        if changes < arguments.changes and (run / "images.json").exists():  # it has begun
            changes += 1
            change = CHANGES[changes % len(CHANGES)]
            problems = start_with_changed_images(
                start, run, folder / "images", change, draws, arguments.train_on_changes
            )
            complaints += problems
            print(f"     an image {change}: {'WRONG' if problems else 'as expected'}")
    end_well(start(run))
    if not arguments.train_on_changes:
        complaints += differences(folder / "whole", run)
    if arguments.method == "instdisc":
        complaints += rows_of_other_images(run, folder / "images", STEPS_PER_EPOCH)
    deaths = f"{arguments.kills} random kills, {arguments.inside_write} during a write"
    print("\n".join(complaints))
    print(f"{deaths}: {'DIFFERENT OR BROKEN' if complaints else 'all as expected'}")
    return not complaints


def write_images(folder):
    """Two classes of smooth gray squares."""
    pixels = np.random.default_rng(0).integers(0, 256, [IMAGES, 4, 4]).astype("uint8")
    for i, image in enumerate(pixels):
        path = folder / "ab"[i % 2] / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize([16, 16], Image.Resampling.BICUBIC).save(path)


class Starter:
    """Starts the processes of a run, with the same command each time."""

    def __init__(self, folder, method, workers, epochs):
        self._log, self._workers = folder / "log", workers
        data = f"folder:{folder / 'images'}"
        self._arguments = [
            "pretrain",
            f"--data={data}",
            f"--test_data={data}",
            "--knn_every=5",
            "--channels=1",
            f"--method={method}",
            "--encoder=small_resnet",
            f"--method_options={json.dumps(OPTIONS[method])}",
            f"--batch_size={BATCH}",
            f"--epochs={epochs}",
            "--optimizer=adamw",
            "--checkpoint_every_steps=3",
            *(["--strategy=multiworker"] if workers > 1 else []),
        ]

    def __call__(self, run, *program):
        """The processes, one for each worker.

        Args:
            run: the run's folder.
            *program: a script and its own arguments; default: cl-keras.
        """
        command = [sys.executable, *(program or ("-m", "cl_keras.cli.main"))]
        command += [*self._arguments, f"--run={run}"]
        environments = [os.environ] if self._workers == 1 else self._clusters()
        processes = []
        for worker, environment in enumerate(environments):
            with open(f"{self._log}-{worker}", "w") as log:
                processes.append(
                    subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
                )
        return processes

    def log(self, worker):
        return pathlib.Path(f"{self._log}-{worker}").read_text(errors="replace")

    def _clusters(self):
        sockets = [socket.create_server(("localhost", 0)) for _ in range(self._workers)]
        addresses = [f"localhost:{one.getsockname()[1]}" for one in sockets]
        for one in sockets:
            one.close()
        for worker in range(self._workers):
            task = {"type": "worker", "index": worker}
            config = {"cluster": {"worker": addresses}, "task": task}
            yield os.environ | {"TF_CONFIG": json.dumps(config)}


def kill_at(start, run, moment, draws):
    """Kills a process of the run at a random moment soon after a step is saved.

    Returns:
        What happened, and a list of what went wrong.
    """
    begin, processes = time.monotonic(), start(run)
    if newest_step(run) >= moment:  # an earlier kill was late: kill this one during its start
        time.sleep(draws.uniform(0, 10))
    while newest_step(run) < moment and time.monotonic() - begin < PATIENCE:
        time.sleep(0.01)
    time.sleep(draws.uniform(0, 0.3))
    victim = draws.randrange(len(processes))
    processes[victim].kill()
    processes[victim].wait()
    event = f"killed after {time.monotonic() - begin:.1f} s"
    if len(processes) == 1:
        return event, []
    other, event = 1 - victim, f"worker {victim} {event}"
    try:
        code = processes[other].wait(PATIENCE)
    except subprocess.TimeoutExpired:
        processes[other].kill()
        processes[other].wait()
        return event, [f"the other worker did not end within {PATIENCE} s:\n{start.log(other)}"]
    message = start.log(other).rpartition("cl-keras pretrain: ")[2].strip()
    wrong = [] if code == 1 else [f"the other worker ended with {code}:\n{start.log(other)}"]
    return f"{event}; the other: exit {code}, {message[:120]!r}", wrong


def start_with_changed_images(start, run, images, change, draws, train):
    """Starts the run with one image changed, and restores it; returns what went wrong."""
    image = draws.choice(sorted(images.glob("?/*.png")))
    content, added = image.read_bytes(), image.with_name("added.png")
    files = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    if change == "vanishes":
        image.unlink()
    elif change == "is added":
        added.write_bytes(content)
    elif change == "is replaced":
        other = draws.choice(sorted(set(images.glob("?/*.png")) - {image}))
        image.write_bytes(other.read_bytes())
    else:
        image.write_bytes(b"not an image")
    try:
        (process,) = start(run)
        if change == "becomes unreadable":
            steps = draws.randint(3, STEPS_PER_DEATH) if train else 0
            return wrongly_refused(start, process, image, run, steps)
        code = process.wait(PATIENCE)
    finally:
        added.unlink(missing_ok=True)
        image.write_bytes(content)
    log, name = start.log(0), added.name if change == "is added" else image.name
    wrong = []
    if code != 1 or name not in log or "are not those with which it began" not in log:
        wrong.append(f"when an image {change}, the run ended with {code}:\n{log}")
    if files != {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}:
        wrong.append(f"when an image {change}, the refused start changed the run")
    return wrong


def wrongly_refused(start, process, image, run, steps):
    """Kills a process once it has accepted its images and trained `steps` more; problems."""
    begin, goal = time.monotonic(), newest_step(run) + steps
    accepted = False
    while process.poll() is None and time.monotonic() - begin < PATIENCE:
        accepted = accepted or "keep their rows" in start.log(0)
        if accepted and newest_step(run) >= goal:
            break
        time.sleep(0.002)
    process.kill()
    process.wait()
    if image.name in start.log(0).partition("keep their rows")[2] and newest_step(run) >= goal:
        return []
    return [f"when an image becomes unreadable, the run said:\n{start.log(0)}"]


def end_well(processes):
    codes = [process.wait(10 * PATIENCE) for process in processes]
    if any(codes):
        raise SystemExit(f"An uninterrupted run ended with {codes}.")


def newest_step(run):
    """The step of the newest checkpoint, from the file names; 0 if there is none."""
    positions = [path.stem.split("-")[1::2] for path in (run / "checkpoints").glob("epoch-*.json")]
    return max((int(epoch) * STEPS_PER_EPOCH + int(batch) for epoch, batch in positions), default=0)


if __name__ == "__main__":
    main()
