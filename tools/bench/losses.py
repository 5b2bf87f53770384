"""Speed and memory of losses, negatives, Sinkhorn, k-NN and the linear probe, vs. their peers.

    sh tools/bench/peers.sh .peers
    python tools/bench/losses.py --peers=.peers/bin/python --json=losses.json

Each topic is run in turns by this library and by the usual implementation in TensorFlow (`dense`),
PyTorch or scikit-learn; the table has medians, quartiles, and ratios of wall-clock and CPU time.
Memory is that of one call in a new process, beyond what its inputs and libraries take.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from alternating import Peer, measure, peak_memory, table, write_json

HERE = Path(__file__).parent
DIM, BATCH = 128, 256


def _normal(*shape):
    import tensorflow as tf

    return tf.random.stateless_normal(shape, [len(shape), shape[0]])


def _compiled(function, *inputs):
    """A call that computes value and gradient in a graph, and waits for the result."""
    import tensorflow as tf

    @tf.function(autograph=False)
    def run(*inputs):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            loss = function(*inputs)
        return loss, tape.gradient(loss, inputs)

    return lambda: run(*inputs)[1][0].numpy()


def nt_xent(pairs=4096):
    """NT-Xent of a batch, forward and backward."""
    import tensorflow as tf

    import cl_keras as cl

    def ours(view0, view1):
        found = cl.losses.nt_xent(view0, view1)
        return tf.reduce_mean(found.losses)

    def dense(view0, view1):
        found = cl.losses.softmax_over_candidates(*cl.negatives.in_batch(view0, view1), 0.1)
        return tf.reduce_mean(found.losses)

    inputs = _normal(pairs, DIM), _normal(pairs, DIM) + 1.0
    return {"ours": _compiled(ours, *inputs), "dense": _compiled(dense, *inputs)}


def queue(size=65_536):
    """MoCo's loss of 256 queries against a queue, its gradient, and pushing the keys."""
    import tensorflow as tf

    import cl_keras as cl

    keys = cl.negatives.KeyQueue(size, DIM)

    def ours(query):
        loss = tf.reduce_mean(cl.losses.info_nce(query, positive, keys, temperature=0.2).losses)
        return loss

    def dense(query):
        unit, key = tf.math.l2_normalize(query, 1), tf.math.l2_normalize(positive, 1)
        to_negatives = tf.matmul(unit, keys.all_rows(), transpose_b=True)
        scores = tf.concat([tf.reduce_sum(unit * key, 1, keepdims=True), to_negatives], 1)
        first = tf.zeros([BATCH], tf.int32)
        return tf.reduce_mean(cl.losses.softmax_over_candidates(first, scores, 0.2).losses)

    query, positive = _normal(BATCH, DIM), _normal(BATCH, DIM) + 1.0
    push = tf.function(keys.push, autograph=False)

    def and_push(work):
        return lambda: (work(), push(positive))

    return {name: and_push(_compiled(f, query)) for name, f in (("ours", ours), ("dense", dense))}


def bank(size=1_280_000, negatives=4096):
    """NCE of 256 images against 4,096 rows of a bank each, the gradient, and the update."""
    import tensorflow as tf

    import cl_keras as cl

    rows = cl.negatives.MemoryBank(size, DIM)
    index = tf.constant(np.random.default_rng(0).choice(size, BATCH, replace=False))

    def outcome(scores):
        found = cl.losses.noise_contrastive(scores, 20.0, temperature=0.07, num_images=size)
        return [found.losses]

    @tf.function(autograph=False)
    def work(query):
        with tf.GradientTape() as tape:
            tape.watch(query)
            losses = rows.against_drawn([query], index, negatives, outcome, seed=0, step=0)[0]
            loss = tf.reduce_mean(losses)
        gradient = tape.gradient(loss, query)
        with tf.control_dependencies([gradient]):
            rows.update(index, query, 0.5)
        return gradient

    query = _normal(BATCH, DIM)
    return {"ours": lambda: work(query).numpy()}


def sinkhorn():
    """Codes of 512 rows over 3,000 prototypes, three iterations."""
    import tensorflow as tf

    import cl_keras as cl

    scores = tf.random.stateless_uniform([512, 3000], [0, 0], -1.0, 1.0)
    codes = tf.function(cl.clustering.sinkhorn, autograph=False)
    return {"ours": lambda: np.asarray(codes(scores))}  # no copy, as torch makes none


def knn(rows=60_000, queries=2_000, k=200):
    """Exact search of 200 neighbors of 2,000 queries among 60,000 rows."""
    from cl_keras.evaluation import neighbors

    train, test = _normal(rows, DIM).numpy(), _normal(queries, DIM).numpy()
    return {"ours": lambda: neighbors(train, test, k)}


def linear(rows=60_000, classes=10):
    """A linear probe on 60,000 rows of ten overlapping classes."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    from cl_keras.evaluation import fit_linear_head

    random = np.random.default_rng(0)
    labels = random.integers(0, classes, rows)
    centers = 0.35 * random.normal(size=[classes, DIM])
    features = (centers[labels] + random.normal(size=[rows, DIM])).astype(np.float32)

    def theirs():
        LogisticRegression(max_iter=1000).fit(StandardScaler().fit_transform(features), labels)

    return {"ours": lambda: fit_linear_head(features, labels), "scikit-learn": theirs}


TOPICS = {each.__name__: each for each in (nt_xent, queue, bank, sinkhorn, knn, linear)}

GOALS = {
    "nt_xent": {"dense": 0.65},
    "queue": {"dense": 0.6, "torch": 0.33},
    "bank": {"torch": 0.29},
    "sinkhorn": {"torch": 0.4},
    "knn": {"torch": 0.6},
    "linear": {"scikit-learn": 1.0},
}

MEMORY = {
    "nt_xent of 4,096 pairs": (nt_xent, 4_096, 150),
    "nt_xent of 16,384 pairs": (nt_xent, 16_384, 400),
    "queue of 1,048,576 keys": (queue, 1_048_576, 1000),
}
"""Topic, size, and the maximum of MB for one call."""


def largest(pairs: int) -> dict:
    """Seconds and MB of one call of NT-Xent, forward and backward."""
    work = nt_xent(pairs)["ours"]
    used = []
    seconds = measure({"ours": lambda: used.append(peak_memory(work))}, 1, warm=False)
    return seconds["ours"] | {"MB": round(used[-1] / 1e6), "pairs": pairs}


def memory_of(name: str) -> int:
    """MB of a call, measured in a new process."""
    command = [sys.executable, __file__, f"--memory_of={name}"]
    return int(json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout))


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--topics", default=",".join(TOPICS), help="of these, separated by commas")
    parser.add_argument("--peers", help="Python of an environment with PyTorch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", help="file for all results")
    parser.add_argument("--no_memory", action="store_true")
    parser.add_argument("--largest", action="store_true", help="only NT-Xent of --pairs, once")
    parser.add_argument("--pairs", type=int, default=65_536)
    parser.add_argument("--memory_of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.memory_of:
        topic, size, _ = MEMORY[options.memory_of]
        print(round(peak_memory(topic(size)["ours"]) / 1e6))
        return
    if options.largest:
        results = {"nt_xent": largest(options.pairs)}
        print(json.dumps(results["nt_xent"]))
        if options.json:
            write_json(options.json, results)
        return
    results = {}
    for topic in options.topics.split(","):
        contestants = TOPICS[topic]()
        if options.peers and topic != "linear":
            contestants["torch"] = Peer(options.peers, str(HERE / "losses_peers.py"), topic)
        results[topic] = measure(contestants, options.rounds)
        if "torch" in contestants:
            contestants["torch"].close()
        print(table(topic, results[topic], GOALS[topic]), end="\n\n", flush=True)
    if not options.no_memory:
        for name, (_, _, goal) in MEMORY.items():
            results[name] = {"MB": memory_of(name), "goal": goal}
            print(f"{name}: {results[name]['MB']} MB (at most {goal})", flush=True)
    if options.json:
        write_json(options.json, results)


if __name__ == "__main__":
    main()
