"""Times several implementations in turns, so that other load slows them equally."""

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

PAUSE = 0.3
"""Seconds before each turn. The threads of OpenMP, which PyTorch uses, keep the cores busy for
0.2 s after their work, and would slow down whoever is next."""

SHORT = 1.0
"""Seconds below which a turn has two calls, of which the second is counted: after a pause or other
work, the caches and the clock of the cores are in another state than in a loop."""


def measure(contestants: dict[str, Callable], rounds: int, *, warm: bool = True) -> dict[str, dict]:
    """Times each contestant `rounds` times, in turns, after one uncounted call.

    Args:
        contestants: by name, a callable that returns when its work is done; or one that
            `TimesItself`.
        rounds: number of counted calls of each.
        warm: whether to make uncounted calls, also before each short one; default: True.

    Returns:
        For each, in seconds: `median`, `quartiles` and `least` of the wall-clock time, and the
        median `cpu` time of its process, which other work on the machine affects less.
    """
    for call in contestants.values() if warm else ():
        call()
    wall, cpu = ({name: [] for name in contestants} for _ in range(2))
    for _ in range(rounds):
        for name, call in contestants.items():
            time.sleep(PAUSE)
            seconds, cpu_seconds = timed(call)
            if warm and seconds < SHORT:
                seconds, cpu_seconds = timed(call)
            wall[name].append(seconds)
            cpu[name].append(cpu_seconds)
    return {name: _summary(wall[name], cpu[name]) for name in contestants}


def timed(call: Callable) -> tuple[float, float]:
    """Seconds of wall-clock and CPU time of one call."""
    begin, cpu_begin = time.perf_counter(), time.process_time()
    reported = call()
    if isinstance(call, TimesItself):
        return reported
    return time.perf_counter() - begin, time.process_time() - cpu_begin


def _summary(wall, cpu):
    first, _, third = (
        statistics.quantiles(wall, n=4, method="inclusive") if len(wall) > 1 else wall * 3
    )
    return {
        "median": statistics.median(wall),
        "quartiles": [first, third],
        "least": min(wall),
        "cpu": statistics.median(cpu),
    }


class TimesItself:
    """A contestant that runs in another process, and returns (wall-clock, CPU) seconds."""


class Command(TimesItself):
    """A program with all its processes, from start to end."""

    def __init__(self, *command: str):
        self.command = command

    def __call__(self) -> tuple[float, float]:
        begin, used_before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(self.command, check=True, stdout=subprocess.DEVNULL)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = used.ru_utime + used.ru_stime - used_before.ru_utime - used_before.ru_stime
        return time.perf_counter() - begin, cpu


class Peer(TimesItself):
    """A case of a script that runs in another environment and times itself.

    The script receives the case as its argument; for each line of standard input it does its work
    once, and answers with the seconds of wall-clock and CPU time.
    """

    def __init__(self, python: str, script: str, case: str):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([python, script, case], **pipes)

    def __call__(self) -> tuple[float, float]:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if len(answer) != 2:
            raise RuntimeError(f"The peer {self.process.args} ended without an answer.")
        return float(answer[0]), float(answer[1])

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def serve(work: Callable):
    """The script's side of a `Peer`."""
    for _ in sys.stdin:
        begin, cpu_begin = time.perf_counter(), time.process_time()
        work()
        print(time.perf_counter() - begin, time.process_time() - cpu_begin, flush=True)


def peak_memory(work: Callable) -> int:
    """Peak memory of one call in bytes, beyond what is held before it (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _status(key):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def machine() -> dict:
    """The machine and versions on which the results depend."""
    names = "tensorflow", "tensorflow-cpu", "keras", "numpy", "scipy", "scikit-learn"
    versions = {}
    for name in names:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "versions": versions,
    }


def _cpu():
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def table(topic: str, results: dict[str, dict], goals: dict[str, float]) -> str:
    """A Markdown table: the time of each contestant, the first one's ratio to it, and the goal."""
    first, *_ = results
    lines = [
        f"{topic} | median ms | quartiles | CPU ms | {first} / it: wall | CPU | goal",
        "---|---|---|---|---|---|---",
    ]
    for name, each in results.items():
        low, high = (1e3 * second for second in each["quartiles"])
        wall, cpu = (results[first][key] / each[key] for key in ("median", "cpu"))
        goal = f"≤ {goals[name]}" if name in goals else ""
        lines.append(
            f"{name} | {1e3 * each['median']:.1f} | {low:.1f}–{high:.1f} | "
            f"{1e3 * each['cpu']:.1f} | {wall:.2f} | {cpu:.2f} | {goal}"
        )
    return "\n".join(lines)


def write_json(path: str, results: dict):
    """Writes all results, with the machine and the versions."""
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"machine": machine(), "results": results}, file, indent=1)
