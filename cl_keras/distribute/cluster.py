"""The machines that train together, according to `TF_CONFIG` or Slurm."""

import dataclasses
import json
import re
from collections.abc import Mapping

JOBS = ("chief", "worker")
"""Kinds of tasks of a cluster; the chief, if there is one, is worker 0."""

FIRST_PORT, PORTS = 12_000, 20_000
"""Under Slurm, the port depends on the id of the job, and is below those that Linux assigns."""

EXAMPLE = (
    '{"cluster": {"worker": ["host-a:12345", "host-b:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Workers that train one model together.

    Attributes:
        addresses: "host:port" of each worker, the same on all workers.
        worker: index of this process in the list.
    """

    addresses: tuple[str, ...]
    worker: int


def cluster_from(environ: Mapping[str, str]) -> Cluster | None:
    """The cluster that the environment describes, or None.

    This is `TF_CONFIG`, if it is set, or else a job step of Slurm (`srun`) with several tasks.

    Args:
        environ: environment variables, such as `os.environ`.

    Raises:
        ValueError: if the description is wrong.
    """
    if environ.get("TF_CONFIG"):
        return _from_tf_config(environ["TF_CONFIG"])
    if int(environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1:
        return _from_slurm(environ)
    return None


def _from_tf_config(text):
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"TF_CONFIG must be JSON, such as {EXAMPLE}; received {text!r} ({error})."
        ) from None
    cluster = config.get("cluster") if isinstance(config, dict) else None
    task = config.get("task") if isinstance(config, dict) else None
    if config == {} or (cluster == {} and task is not None):
        return None
    if not isinstance(cluster, dict) or not isinstance(task, dict):
        raise ValueError(
            f"TF_CONFIG must name the cluster and the task, such as {EXAMPLE}; received {text!r}."
        )
    if unknown := sorted(set(cluster) - set(JOBS)):
        raise ValueError(
            f"The jobs in TF_CONFIG must be {' or '.join(JOBS)}; received {', '.join(unknown)}. "
            "Parameter servers and evaluators are not supported."
        )
    kind, index = task.get("type"), task.get("index")
    addresses = cluster.get(kind)
    if not addresses:
        raise ValueError(
            f"The task type in TF_CONFIG must be one of {sorted(cluster)}; received {kind!r}."
        )
    if isinstance(index, str) and index.isdigit():
        index = int(index)
    if not isinstance(index, int) or not 0 <= index < len(addresses):
        raise ValueError(
            f"The task index in TF_CONFIG must be from 0 to {len(addresses) - 1}, since there are "
            f"{len(addresses)} of {kind!r}; received {index!r}."
        )
    chiefs = cluster.get("chief", [])
    before = 0 if kind == "chief" else len(chiefs)
    return Cluster((*chiefs, *cluster.get("worker", [])), before + index)


def _from_slurm(environ):
    try:
        hosts = _hosts(environ["SLURM_STEP_NODELIST"])
        counts = _counts(environ["SLURM_STEP_TASKS_PER_NODE"])
        worker = int(environ["SLURM_PROCID"])
        port = FIRST_PORT + int(environ.get("SLURM_JOB_ID", 0)) % PORTS
    except KeyError as error:
        raise ValueError(f"{error.args[0]} is not set; start the workers with srun.") from None
    tasks = [
        (host, local) for host, count in zip(hosts, counts, strict=False) for local in range(count)
    ]
    if len(hosts) != len(counts) or worker >= len(tasks):
        raise ValueError(
            f"The variables of Slurm are inconsistent: nodes {hosts} with {counts} tasks, and this "
            f"is task {worker}."
        )
    here = environ.get("SLURMD_NODENAME", tasks[worker][0])
    if tasks[worker][0] != here:
        raise ValueError(
            f"Task {worker} must be on {tasks[worker][0]}, but is on {here}. Start the workers "
            "with srun --distribution=block, which fills one node after another."
        )
    return Cluster(tuple(f"{host}:{port + local}" for host, local in tasks), worker)


def _hosts(text):
    """The nodes in a list of Slurm: "n[1-2,07],m" means n1, n2, n07 and m."""
    found = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        match = re.fullmatch(r"([^\[\]]*)(?:\[([\d,-]+)\])?([^\[\]]*)", part)
        if match is None:
            raise ValueError(
                f"SLURM_STEP_NODELIST must be a list such as n[1-2],m; received {text!r}."
            )
        before, ranges, after = match.groups()
        if ranges is None:
            found.append(part)
            continue
        for one in ranges.split(","):
            first, _, last = one.partition("-")
            numbers = range(int(first), int(last or first) + 1)
            found += [f"{before}{number:0{len(first)}d}{after}" for number in numbers]
    return found


def _counts(text):
    """The tasks of each node in a list of Slurm: "2(x3),1" means 2, 2, 2 and 1."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if match is None:
            raise ValueError(
                f"SLURM_STEP_TASKS_PER_NODE must be a list such as 2(x3),1; received {text!r}."
            )
        found += [int(match[1])] * int(match[2] or 1)
    return found
