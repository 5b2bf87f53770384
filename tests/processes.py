"""Runs Python programs in new processes: single ones, or the workers of a cluster."""

import json
import os
import pathlib
import random
import socket
import subprocess
import sys

from cl_keras.distribute.cluster import FIRST_PORT, PORTS

ROOT = pathlib.Path(__file__).parents[1]
CLUSTER_VARIABLES = ("TF_CONFIG", "SLURM_STEP_NUM_TASKS")


def start(arguments, **variables):
    """Starts `python -m ...` with additional environment variables; its output is captured."""
    environ = {k: v for k, v in os.environ.items() if k not in CLUSTER_VARIABLES}
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=ROOT,
        env=environ | {"PYTHONPATH": str(ROOT)} | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_workers(count, arguments):
    """Starts one process per worker, on free ports; `arguments` is a function of its number."""
    addresses = [f"localhost:{port}" for port in free_ports(count)]

    def config(number):
        task = {"type": "worker", "index": number}
        return json.dumps({"cluster": {"worker": addresses}, "task": task})

    return [start(arguments(i), TF_CONFIG=config(i)) for i in range(count)]


def start_slurm_tasks(count, arguments):
    """As `start_workers`, but as Slurm's srun would start them on this machine."""
    job = next(
        job
        for job in iter(lambda: random.randrange(PORTS), None)
        if all_free(FIRST_PORT + job, count)
    )
    step = {
        "SLURM_JOB_ID": str(job),
        "SLURM_STEP_NUM_TASKS": str(count),
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_TASKS_PER_NODE": str(count),
    }
    return [start(arguments(i), **step, SLURM_PROCID=str(i)) for i in range(count)]


def all_free(first, count):
    try:
        for port in range(first, first + count):
            with socket.socket() as one:
                one.bind(("localhost", port))
    except OSError:
        return False
    return True


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("localhost", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def finish(processes, timeout=1200):
    """Waits for all; unless every one succeeded, raises an error with their output."""
    try:
        outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, output in zip(processes, outputs, strict=True):
        if process.returncode:
            raise AssertionError(f"exit code {process.returncode}:\n{output[-4000:]}")
    return outputs
