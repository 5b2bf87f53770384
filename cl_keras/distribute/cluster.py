"""Which machines train together, as `TF_CONFIG` or Slurm say."""

import dataclasses
import json
import re

JOBS = ("chief", "worker")
"""What a task of a cluster may be; the chief, where there is one, is worker 0."""

FIRST_PORT, PORTS = 12_000, 20_000
"""Under Slurm the port comes from the number of the job; below those that Linux hands out."""

EXAMPLE = (
    '{"cluster": {"worker": ["host-a:12345", "host-b:12345"]}, '
    '"task": {"type": "worker", "index": 0}}'
)


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Workers that train one model together.

    Attributes:
        addresses: "host:port" of each worker, the same list in each of them.
        worker: index of this process in the list.
    """

    addresses: tuple[str, ...]
    worker: int


def cluster_from(environ):
    """The cluster that the environment describes, or None.

    `TF_CONFIG` goes first; else a job step of Slurm (`srun`) with several tasks.

    Args:
        environ: such as `os.environ`.

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
            f"TF_CONFIG may name the jobs {' and '.join(JOBS)}, which all train; received "
            f"{', '.join(unknown)}. Parameter servers and evaluators are not used."
        )
    kind, index = task.get("type"), task.get("index")
    addresses = cluster.get(kind)
    if not addresses:
        raise ValueError(f"TF_CONFIG: the task's type {kind!r} is not among {sorted(cluster)}.")
    if isinstance(index, str) and index.isdigit():
        index = int(index)
    if not isinstance(index, int) or not 0 <= index < len(addresses):
        raise ValueError(
            f"TF_CONFIG: the task's index must lie in 0 … {len(addresses) - 1}, since there are "
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
    places = [
        (host, place) for host, count in zip(hosts, counts, strict=False) for place in range(count)
    ]
    if len(hosts) != len(counts) or worker >= len(places):
        raise ValueError(
            f"Slurm's variables do not agree: nodes {hosts} with {counts} tasks, and this is "
            f"task {worker}."
        )
    here = environ.get("SLURMD_NODENAME", places[worker][0])
    if places[worker][0] != here:
        raise ValueError(
            f"Task {worker} was expected on {places[worker][0]} and is on {here}. Start the "
            "workers with srun --distribution=block, which fills one node after the other."
        )
    return Cluster(tuple(f"{host}:{port + place}" for host, place in places), worker)


def _hosts(text):
    """Slurm's list of nodes: "n[1-2,07],m" is n1, n2, n07, m."""
    found = []
    for part in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", text):
        match = re.fullmatch(r"([^\[\]]*)(?:\[([\d,-]+)\])?([^\[\]]*)", part)
        if match is None:
            raise ValueError(f"SLURM_STEP_NODELIST is not understood: {text!r}.")
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
    """Slurm's number of tasks on each node: "2(x3),1" is 2, 2, 2, 1."""
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if match is None:
            raise ValueError(f"SLURM_STEP_TASKS_PER_NODE is not understood: {text!r}.")
        found += [int(match[1])] * int(match[2] or 1)
    return found
