"""Time and memory of the shared parts of a step as replicas, batch and state grow.

  python tools/bench/scaling.py                          # all pieces, a table in Markdown
  python tools/bench/scaling.py --pieces bank --sizes 65536 1281167 --batches 256

Each line is measured in a process of its own, on GPUs if there are enough of them, otherwise on
logical CPU devices. These share the machine's cores: time that grows with the number of replicas is
overhead there. Memory is the peak of the process, minus what TensorFlow takes by itself.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time

DIM = 128
SIZES = {"queue": [4_096, 65_536, 1_048_576], "bank": [65_536, 1_281_167], "sinkhorn": [300, 3000]}
HEAD = "| piece | size | replicas | global batch | ms per step | images/s | peak MB |"


def main():
    arguments = parse()
    if arguments.one:
        print(json.dumps(measure(**json.loads(arguments.one))))
        return
    print(HEAD + "\n" + "|---" * 7 + "|", flush=True)
    for piece in arguments.pieces:
        for size in (arguments.sizes or SIZES[piece]) if piece in SIZES else [0]:
            for replicas in arguments.replicas:
                for batch in arguments.batches:
                    report(piece, size, replicas, batch, arguments.repeats)


def report(piece, size, replicas, batch, repeats):
    """Measures in a new process, for the sake of its peak memory, and prints a line."""
    asked = {"piece": piece, "size": size, "replicas": replicas, "batch": batch}
    command = [sys.executable, __file__, "--one", json.dumps(asked | {"repeats": repeats})]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{asked} failed:\n{done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    milliseconds = found["milliseconds"]
    print(
        f"| {piece} | {size or '–'} | {replicas} | {batch} | {milliseconds:.2f} "
        f"| {1000 * batch / milliseconds:,.0f} | {found['megabytes']:.0f} |",
        flush=True,
    )


def measure(piece, size, replicas, batch, repeats):
    """Median time of a call, and the memory that it takes."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    kind = "gpu" if len(tf.config.list_physical_devices("GPU")) >= replicas else "cpu"
    if kind == "cpu":
        (cpu,) = tf.config.list_physical_devices("CPU")
        devices = [tf.config.LogicalDeviceConfiguration()] * replicas
        tf.config.set_logical_device_configuration(cpu, devices)
    import cl_keras as cl

    strategy = cl.distribute.strategy(",".join(f"{kind}:{i}" for i in range(replicas)))
    strategy.run(tf.function(lambda: tf.reduce_sum(tf.ones([64, 64]) @ tf.ones([64, 64]))))
    before = peak_megabytes()
    with strategy.scope():
        step = PIECES[piece](cl, size, batch // replicas)

    @tf.function(autograph=False)
    def run():
        return strategy.run(step)

    run()
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        tf.nest.map_structure(lambda x: x.numpy(), strategy.experimental_local_results(run()))
        times.append(time.perf_counter() - begin)
    return {
        "milliseconds": 1000 * statistics.median(times),
        "megabytes": peak_megabytes() - before,
    }


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def gather(cl, size, local):
    """Gathers the embeddings of all replicas, and propagates the gradient back."""
    import tensorflow as tf

    rows = tf.random.stateless_normal([local, DIM], [0, 0])

    def step():
        own = tf.identity(rows)
        with tf.GradientTape() as tape:
            tape.watch(own)
            loss = tf.reduce_sum(cl.distribute.gather(own) ** 2)
        return tf.reduce_sum(tape.gradient(loss, own))

    return step


def in_batch(cl, size, local):
    """Contrasts two views with the rows of the global batch by InfoNCE, with the gradient."""
    import tensorflow as tf

    views = [tf.random.stateless_normal([local, DIM], [0, i]) for i in range(2)]

    def step():
        own = [tf.identity(view) for view in views]
        with tf.GradientTape() as tape:
            tape.watch(own)
            loss = tf.reduce_sum(cl.losses.nt_xent(*own, temperature=0.2).losses)
        return tf.reduce_sum(tape.gradient(loss, own)[0])

    return step


def queue(cl, size, local):
    """Contrasts queries with a queue, with the gradient, and pushes keys into it."""
    import tensorflow as tf

    keys = cl.negatives.KeyQueue(size, DIM)
    start = tf.random.stateless_normal([local, DIM], [0, 0])

    def step():
        query = tf.identity(start)
        with tf.GradientTape() as tape:
            tape.watch(query)
            loss = tf.reduce_sum(cl.losses.info_nce(query, query, keys, temperature=0.2).losses)
        gradient = tape.gradient(loss, query)
        with tf.control_dependencies([gradient]):  # as in training
            keys.push(query)
        return tf.reduce_sum(gradient)

    return step


def bank(cl, size, local):
    """Contrasts each query with 4,096 rows of a bank, with the gradient, and updates the bank."""
    import tensorflow as tf

    def log_sum(scores):
        return [tf.reduce_logsumexp(scores / 0.07, axis=1)]

    rows = cl.negatives.MemoryBank(size, DIM)
    start = tf.random.stateless_normal([local, DIM], [0, 0])

    def step():
        query = tf.identity(start)
        index = tf.range(local, dtype=tf.int64) + tf.cast(cl.distribute.first_row(local), tf.int64)
        with tf.GradientTape() as tape:
            tape.watch(query)
            loss = tf.reduce_sum(
                rows.against_drawn([query], index, 4096, log_sum, seed=0, step=0)[0]
            )
        gradient = tape.gradient(loss, query)
        with tf.control_dependencies([gradient]):  # as in training
            rows.update(index, query, 0.5)
        return tf.reduce_sum(gradient)

    return step


def sinkhorn(cl, size, local):
    """Computes the codes of a batch, with the sums over all replicas."""
    import tensorflow as tf

    scores = tf.random.stateless_uniform([local, size], [0, 0], -1.0, 1.0)
    return lambda: tf.reduce_sum(cl.clustering.sinkhorn(scores, epsilon=0.05, iterations=3))


PIECES = {
    "gather": gather,
    "in_batch": in_batch,
    "queue": queue,
    "bank": bank,
    "sinkhorn": sinkhorn,
}


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pieces", nargs="+", choices=PIECES, default=list(PIECES))
    parser.add_argument(
        "--sizes", type=int, nargs="+", help="rows of queue or bank, or number of prototypes"
    )
    parser.add_argument("--replicas", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--batches", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
