"""Kills a run repeatedly, and compares its result with that of a run left alone.

  python tools/kill_test.py --kills 50 --inside-write 20

A small MoCo, or another method, is trained by `cl-keras pretrain` on images made here. SIGKILL
comes at random moments of the run, and, by tools/die_in_write.py, at given ones within the write
of a checkpoint; the same command resumes the run each time. After every death all checkpoints that
are recorded must be readable, and at the end all variables, the encoder and the metrics must equal
those of the other run bit for bit. With --changes N, after N of the deaths an image vanishes, is
added, is replaced, or becomes unreadable: the next start must refuse the first three by name and
change nothing, and must accept the last with all indices as they were; then the image is put back.
With --train_on_changes the run trains with the unreadable image until its next death, so that its
end is another one, and is not compared. With --method instdisc each image must at the end still be
nearest to its own row of the memory bank: the files are read and embedded here, by the names that
images.json has for the rows. With --workers 2 two processes train together, and one of them
is killed; the other must then end by itself, and say why. Exit code 1 if anything differs.
"""

import argparse
import csv
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

from cl_keras.files import sha256  # noqa: E402
from cl_keras.runs import records  # noqa: E402

IMAGES, BATCH = 192, 16
STEPS_PER_EPOCH = IMAGES // BATCH
STEPS_PER_DEATH = 12
"""On average; the run is made long enough for that."""

OPTIONS = {
    "moco": {"queue_size": 64, "shuffle_bn_groups": 1},
    "deepcluster": {"num_clusters": 8},
    "instdisc": {"loss": "softmax", "temperature": 0.1},
    "simclr": {},
}
CHANGES = ("vanishes", "is added", "is replaced", "becomes unreadable")
MIN_AT_HOME = 0.95
"""Of the images, the share that must be nearest to its own row of the bank."""
PATIENCE = 900
"""Seconds in which a process must come on, or end."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="at random moments")
    parser.add_argument("--inside-write", type=int, default=20, help="while a checkpoint is saved")
    parser.add_argument("--changes", type=int, default=8, help="of the images, between deaths")
    parser.add_argument("--train_on_changes", action="store_true", help="while one is unreadable")
    parser.add_argument("--workers", type=int, default=1, choices=[1, 2])
    parser.add_argument("--method", default="moco", choices=list(OPTIONS))
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    if arguments.workers > 1 and arguments.inside_write:
        parser.error("--inside-write is for one worker; give --inside-write 0.")
    with tempfile.TemporaryDirectory(prefix="kill_test_") as folder:
        sys.exit(0 if survives(pathlib.Path(folder), arguments) else 1)


def survives(folder, arguments):
    """Whether the run that is killed ends as the other one; prints a line for each death."""
    draws = random.Random(arguments.seed)
    deaths = [None] * arguments.kills
    deaths += [SPOTS[i % len(SPOTS)] for i in range(arguments.inside_write)]
    draws.shuffle(deaths)
    # Until the rows of a bank can be told apart, it takes so many.
    least = 100 if arguments.method == "instdisc" else 4
    epochs = max(least, -(-len(deaths) * STEPS_PER_DEATH // STEPS_PER_EPOCH))
    if arguments.train_on_changes:  # a quarter of the changes trains on, for as long as a life
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
            how, word = kill_at(start, run, moment, draws)
            complaints += word
        else:
            count = draws.randint(1, 3)
            (process,) = start(run, "tools/die_in_write.py", spot, str(count))
            how = f"{spot}, write {count}"
            if process.wait(PATIENCE) != -9:
                complaints.append(f"death {number} did not come")
        found = unreadable(run / "checkpoints")
        complaints += found
        print(f"{number:3}: {how}; at step {newest_step(run)}; unreadable: {len(found)}")
        if changes < arguments.changes and (run / "images.json").exists():  # it has begun
            changes += 1
            change = CHANGES[changes % len(CHANGES)]
            word = start_with_changed_images(
                start, run, folder / "images", change, draws, arguments.train_on_changes
            )
            complaints += word
            print(f"     an image {change}: {'WRONG' if word else 'answered rightly'}")
    end_well(start(run))
    if not arguments.train_on_changes:
        complaints += differences(folder / "whole", run)
    if arguments.method == "instdisc":
        complaints += rows_of_other_images(run, folder / "images")
    deaths = f"{arguments.kills} random kills, {arguments.inside_write} within a write"
    print("\n".join(complaints))
    print(f"{deaths}: {'DIFFERENT OR BROKEN' if complaints else 'all as it must be'}")
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
    """Kills a process of the run soon after a step is saved; the moment after is a random one.

    Returns:
        What happened, and a list of what should not have.
    """
    begin, processes = time.monotonic(), start(run)
    if newest_step(run) >= moment:  # an earlier death came late; so this one comes as it starts
        time.sleep(draws.uniform(0, 10))
    while newest_step(run) < moment and time.monotonic() - begin < PATIENCE:
        time.sleep(0.01)
    time.sleep(draws.uniform(0, 0.3))
    victim = draws.randrange(len(processes))
    processes[victim].kill()
    processes[victim].wait()
    how = f"killed after {time.monotonic() - begin:.1f} s"
    if len(processes) == 1:
        return how, []
    other, how = 1 - victim, f"worker {victim} {how}"
    try:
        code = processes[other].wait(PATIENCE)
    except subprocess.TimeoutExpired:
        processes[other].kill()
        processes[other].wait()
        return how, [f"the other worker did not end in {PATIENCE} s:\n{start.log(other)}"]
    word = start.log(other).rpartition("cl-keras pretrain: ")[2].strip()
    wrong = [] if code == 1 else [f"the other worker ended with {code}:\n{start.log(other)}"]
    return f"{how}; the other: exit {code}, {word[:120]!r}", wrong


def start_with_changed_images(start, run, images, change, draws, train):
    """Starts the run with one image changed, and puts it back; a line for each wrong thing."""
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
            return wrongly_not_accepted(start, process, image, run, steps)
        code = process.wait(PATIENCE)
    finally:
        added.unlink(missing_ok=True)
        image.write_bytes(content)
    log, name = start.log(0), added.name if change == "is added" else image.name
    wrong = []
    if code != 1 or name not in log or "are not those with which it began" not in log:
        wrong.append(f"where an image {change}, the run ended with {code}:\n{log}")
    if files != {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}:
        wrong.append(f"where an image {change}, the start that was refused changed the run")
    return wrong


def wrongly_not_accepted(start, process, image, run, steps):
    """Ends a process once it has accepted its images, and has trained so many steps on them."""
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
    return [f"where an image becomes unreadable, the run said:\n{start.log(0)}"]


def rows_of_other_images(run, images):
    """A line if too many images are nearest to a row of the memory bank that is not their own.

    The images are read by their names in images.json, and not by the package.
    """
    from cl_keras.recipes import build  # late, since TensorFlow takes seconds
    from cl_keras.recipes.config import Config
    from cl_keras.runs import Run

    rows = json.loads((run / "images.json").read_text("utf-8"))["images"]
    pixels = [np.asarray(Image.open(images / name))[..., None] for name, *_ in rows]
    there = Run(run)
    config = Config.from_dict(there.config, str(run))
    model = build.make_model(config, pixels[0].shape, STEPS_PER_EPOCH)
    there.checkpoints.restore(model)
    vectors = model.head(model.predict(np.stack(pixels), verbose=0)).numpy()
    nearest = np.argmax(vectors @ model.bank.bank.numpy().T, axis=1)
    at_home = (nearest == np.arange(len(rows))).mean()
    print(f"{at_home:.1%} of {len(rows)} images are nearest to their own row of the bank")
    return [] if at_home >= MIN_AT_HOME else [f"only {at_home:.1%} are nearest to their own row"]


def end_well(processes):
    codes = [process.wait(10 * PATIENCE) for process in processes]
    if any(codes):
        raise SystemExit(f"A run that was left alone ended with {codes}.")


def whole_records(checkpoints):
    """What the manifest and the records name; a ValueError if one of them is damaged."""
    found, damaged = records.read_all(checkpoints)
    if damaged:
        raise ValueError(f"{damaged} files are damaged")
    return found


def newest_step(run):
    """The last step of the run of which a checkpoint is there, by the names; 0 at the beginning."""
    positions = [path.stem.split("-")[1::2] for path in (run / "checkpoints").glob("epoch-*.json")]
    return max((int(epoch) * STEPS_PER_EPOCH + int(batch) for epoch, batch in positions), default=0)


def unreadable(checkpoints):
    """A line for each record or checkpoint that is not whole."""
    try:
        named = whole_records(checkpoints)
    except ValueError as error:
        return [f"a broken record in {checkpoints}: {error}"]
    broken = []
    for record in named:
        path = checkpoints / record["file"]
        # Of an older one the manifest goes first, then the record, then the arrays.
        if not path.exists() or sha256(path) != record["sha256"]:
            broken.append(f"{path} is not as recorded")
    return broken


def differences(whole, killed):
    """A line for each thing that differs between two runs that have ended."""
    found = []
    ends = [
        max(whole_records(run / "checkpoints"), key=lambda r: r["step"]) for run in (whole, killed)
    ]
    if ends[0]["step"] != ends[1]["step"] or ends[0]["logs"] != ends[1]["logs"]:
        found.append(f"the ends differ: {ends}")
    arrays = [
        np.load(run / "checkpoints" / end["file"])
        for run, end in zip((whole, killed), ends, strict=True)
    ]
    for name in arrays[0].files:
        if arrays[0][name].tobytes() != arrays[1][name].tobytes():
            found.append(f"variable {name} differs")
    tables = []
    for run in (whole, killed):
        with open(run / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            del row["seconds"], row["images_per_second"]
        tables.append(rows)
    for expected, received in zip(*tables, strict=True):
        found += [
            f"metrics.csv, epoch {expected['epoch']}: {name} is {received[name]}, not {value}"
            for name, value in expected.items()
            if received[name] != value
        ]
    if not (killed / "encoder.keras").exists():
        found.append("there is no encoder")
    print(f"compared {len(arrays[0].files)} variables and {len(tables[0])} epochs of metrics")
    return found


if __name__ == "__main__":
    main()
