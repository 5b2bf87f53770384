"""Speed of a training step of SimCLR, vs. the same step in PyTorch.

  python tools/bench/step.py --peers=PEERS/bin/python --batch=128 --json=step.json

The views are given, so that only the step is timed: two views of each image through a ResNet and
its head, NT-Xent, gradients, SGD with momentum. The library runs in up to four forms: by default
("cl_keras"), with the whole step compiled by XLA, with only normalization compiled by XLA, and with
neither. The peer's environment needs only torch. On a GPU, use `--steps` of 20 or more, so that the
overhead of the call does not count.
"""

import argparse
import json
from pathlib import Path

import alternating
import keras
import numpy as np
import tensorflow as tf

import cl_keras as cl
from cl_keras.encoders import batch_norm

FORMS = {
    "cl_keras": (None, "auto"),
    "cl_keras, step by XLA": (None, True),
    "cl_keras, norms by XLA": (True, False),
    "cl_keras, no XLA": (False, False),
}
"""Name to `batch_norm.USE_XLA` and `jit_compile`."""

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


class Step:
    """Steps of `fit` on one batch of views, in one form."""

    def __init__(self, form, *, net, size, batch, precision, steps, strategy=None):
        self.use_xla, jit = FORMS[form]
        self.steps, self.use_gpu = steps, bool(tf.config.list_logical_devices("GPU"))
        keras.config.set_dtype_policy(POLICIES[precision])
        with (strategy or tf.distribute.get_strategy()).scope():
            encoder = getattr(cl.encoders, net)(image_size=size, channels=3)
            self.model = cl.SimCLR(encoder, views=cl.views.simclr(size), temperature=0.1)
            self.model.compile(keras.optimizers.SGD(0.01, momentum=0.9), jit_compile=jit)
        drawn = np.random.default_rng(0).random((2, batch, size, size, 3), "float32") * 255
        element = {"views": tuple(map(tf.constant, drawn)), "index": tf.range(batch)}
        # The tuner of tf.data delays the end of an epoch until its next turn, up to a second.
        options = tf.data.Options()
        options.autotune.enabled = False
        self.batches = tf.data.Dataset.from_tensors(element).repeat().with_options(options)

    def __call__(self):
        batch_norm.USE_XLA = self.use_xla  # read when the step is traced, in the first call
        self.model.fit(self.batches, steps_per_epoch=self.steps, verbose=0)

    def peak_bytes(self):
        """Peak memory of one more call on the first GPU; 0 without a GPU."""
        if not self.use_gpu:
            return 0
        tf.config.experimental.reset_memory_stats("GPU:0")
        self()
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]


def measure(forms, peers, rounds, peers_python, strategy=None, **work):
    """Times per call by contestant, with images per second and, on a GPU, peak bytes."""
    contestants = {form: Step(form, strategy=strategy, **work) for form in forms}
    script = str(Path(__file__).with_name("step_peers.py"))
    for name, compiled in peers.items() if peers_python else ():
        case = json.dumps({**work, "compiled": compiled})
        contestants[name] = alternating.Peer(peers_python, script, case)
    results = alternating.measure(contestants, rounds)
    for name, contestant in contestants.items():
        results[name]["images_s"] = work["batch"] * work["steps"] / results[name]["median"]
        if isinstance(contestant, alternating.Peer):
            contestant.close()
        else:
            results[name]["peak_bytes"] = contestant.peak_bytes()
    return results


PEERS = {"torch": False, "torch.compile": True}


def main():
    arguments = parse()
    work = {name: getattr(arguments, name) for name in ("net", "size", "batch", "precision")}
    results = measure(
        arguments.forms,
        {name: PEERS[name] for name in arguments.against},
        arguments.rounds,
        arguments.peers,
        steps=arguments.steps,
        **work,
    )
    goal = {"float32": 0.8, "bfloat16": 1.0}.get(arguments.precision)
    print(alternating.table(", ".join(map(str, work.values())), results, {"torch.compile": goal}))
    if arguments.json:
        alternating.write_json(arguments.json, results)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", default="resnet18")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument(
        "--batch", type=int, default=128, help="images; there are twice as many views"
    )
    parser.add_argument("--precision", choices=POLICIES, default="float32")
    parser.add_argument("--steps", type=int, default=1, help="steps per call")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=["cl_keras"])
    parser.add_argument("--against", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--peers", help="Python of an environment with torch")
    parser.add_argument("--json", help="file for all results")
    return parser.parse_args()


if __name__ == "__main__":
    main()
