import json

import pytest

from cl_keras.distribute.cluster import FIRST_PORT, cluster_from


def tf_config(kind="worker", index=0, **cluster):
    return {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})}


def slurm(nodes, tasks, number, job=7, **more):
    return {
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_STEP_NODELIST": nodes,
        "SLURM_STEP_TASKS_PER_NODE": tasks,
        "SLURM_PROCID": str(number),
        "SLURM_JOB_ID": str(job),
        **more,
    }


def test_without_a_description_there_is_no_cluster():
    assert cluster_from({}) is None
    assert cluster_from({"TF_CONFIG": ""}) is None
    assert cluster_from({"TF_CONFIG": "{}"}) is None
    assert cluster_from({"SLURM_STEP_NUM_TASKS": "1"}) is None


def test_tf_config_numbers_the_workers_with_the_chief_first():
    workers = cluster_from(tf_config(index=1, worker=["a:1", "b:2"]))
    assert (workers.addresses, workers.worker) == (("a:1", "b:2"), 1)
    jobs = {"worker": ["a:1", "b:2"], "chief": ["c:3"]}
    chief = cluster_from(tf_config("chief", **jobs))
    assert (chief.addresses, chief.worker) == (("c:3", "a:1", "b:2"), 0)
    assert cluster_from(tf_config("worker", 1, **jobs)).worker == 2
    assert cluster_from(tf_config(index="1", worker=["a:1", "b:2"])).worker == 1


@pytest.mark.parametrize(
    "config, complaint",
    [
        ({"TF_CONFIG": "{worker"}, "must be JSON, such as"),
        ({"TF_CONFIG": "[1]"}, "must name the cluster and the task"),
        ({"TF_CONFIG": '{"cluster": {"worker": ["a:1"]}}'}, "must name the cluster and the task"),
        (tf_config(index=2, worker=["a:1", "b:1"]), r"from 0 to 1.*received 2"),
        (tf_config(index=-1, worker=["a:1", "b:1"]), "received -1"),
        (tf_config(index=None, worker=["a:1", "b:1"]), "received None"),
        (tf_config("chief", worker=["a:1"]), "task type .* received 'chief'"),
        (tf_config(worker=["a:1"], ps=["b:1"]), "received ps. Parameter servers"),
    ],
)
def test_a_wrong_tf_config_is_refused(config, complaint):
    with pytest.raises(ValueError, match=complaint):
        cluster_from(config)


def test_slurm_fills_one_node_after_the_other():
    port = FIRST_PORT + 7
    expected = tuple(
        f"{host}:{port + place}"
        for host, count in [("n08", 2), ("n09", 2), ("gpu-3.x", 2), ("m", 1)]
        for place in range(count)
    )
    for number in range(7):
        cluster = cluster_from(slurm("n[08-09],gpu-[3].x,m", "2(x3),1", number))
        assert (cluster.addresses, cluster.worker) == (expected, number)


def test_two_slurm_jobs_have_different_ports():
    ports = [cluster_from(slurm("a,b", "1(x2)", 0, job)).addresses[0] for job in (70, 71)]
    assert ports == [f"a:{FIRST_PORT + 70}", f"a:{FIRST_PORT + 71}"]


def test_tf_config_goes_before_slurm():
    both = slurm("a,b", "1(x2)", 1) | tf_config(worker=["c:1", "d:1"])
    assert cluster_from(both).addresses == ("c:1", "d:1")


@pytest.mark.parametrize(
    "config, complaint",
    [
        (slurm("a,b", "1(x2)", 2), "inconsistent.*task 2"),
        (slurm("a,b", "1", 0), "are inconsistent"),
        (slurm("a,b", "one", 0), "TASKS_PER_NODE must be .* received 'one'"),
        (slurm("a[1]b[2],c", "1(x2)", 0), "NODELIST must be a list"),
        (slurm("a,b", "1(x2)", 1, SLURMD_NODENAME="a"), "--distribution=block"),
        ({"SLURM_STEP_NUM_TASKS": "2"}, "SLURM_STEP_NODELIST is not set; start the workers with"),
    ],
)
def test_slurm_variables_that_do_not_agree_are_refused(config, complaint):
    with pytest.raises(ValueError, match=complaint):
        cluster_from(config)
