"""All benchmarks on a GPU, in one command.

  python tools/bench/gpu.py --peers=PEERS/bin/python --out=gpu
  python tools/bench/gpu.py --tiny --out=/tmp/tiny          with small inputs, also on a CPU

Each section runs in its own process with a time limit, the most important first; `--only` selects
sections. Their tables are printed, and all results are in OUT/SECTION.json:

  resnet50, resnet18     a step of SimCLR, 256 images of 224 px and 512 of 32 px, in bfloat16: each
                         form of the library (see step.py) vs. PyTorch, eager and compiled
  float16                the same in float16, this library only
  mirrored50, mirrored18 under MirroredStrategy on two logical devices of one card
  methods                every method of the conformance tests, two steps on two logical devices and
                         two with the default of one
  views                  two views of an image, 32 px and 224 px
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

STEPS = {
    "resnet50": {"net": "resnet50", "size": 224, "batch": 256},
    "resnet18": {"net": "resnet18", "size": 32, "batch": 512},
}
TINY = {"net": "resnet18", "size": 16, "batch": 4}
LIMITS = {
    "resnet50": 420,
    "resnet18": 240,
    "mirrored50": 180,
    "mirrored18": 120,
    "methods": 400,
    "views": 60,
    "float16": 240,
}
"""Section to its time limit in seconds, the most important first."""

VIEWS = {"views": ((224, 256), (32, 1024)), "tiny": ((16, 4),)}


def steps_of(name, arguments, *, forms, precision="bfloat16", peers=False, strategy=None):
    """Prints the table of one step, and returns its results."""
    import alternating
    import step

    work = TINY if arguments.tiny else STEPS[name]
    results = step.measure(
        forms,
        step.PEERS if peers else {},
        2 if arguments.tiny else 5,
        arguments.peers,
        strategy=strategy,
        precision=precision,
        steps=1 if arguments.tiny else 10,
        **work,
    )
    print(alternating.table(f"{name}, {precision}", results, {"torch": 1.0}))
    for form, row in results.items():
        memory = row.get("peak_bytes", 0) / 2**30
        print(f"{form}: {row['images_s']:.0f} images per second, {memory:.1f} GiB")
    return results


def whole_step(name, arguments):
    import step

    return steps_of(name, arguments, forms=list(step.FORMS), peers=True)


def float16(name, arguments):
    forms = ["cl_keras", "cl_keras, norms by XLA"]
    return {
        net: steps_of(net, arguments, forms=forms, precision="float16")
        for net in ("resnet18", "resnet50")
    }


def mirrored(name, arguments):
    """Times one form: with the strategy a second model would wait for the first."""
    strategy = _two_devices()
    net = "resnet" + name.removeprefix("mirrored")
    return steps_of(net, arguments, forms=["cl_keras"], strategy=strategy)


def methods(name, arguments):
    import tensorflow as tf

    from cl_keras import data
    from tests.conformance.descriptors import OPTIONS, make
    from tests.conformance.replicas import images

    strategy, source = _two_devices(), data.load(images())
    results = {}
    for method in list(OPTIONS)[: 2 if arguments.tiny else None]:
        for where, scope in (("two", strategy), ("one", tf.distribute.get_strategy())):
            begin = time.perf_counter()
            try:
                with scope.scope():
                    model = make(method)
                history = model.fit(source.batches(16, seed=2), steps_per_epoch=2, verbose=0)
                outcome = {"loss": history.history["loss"][0]}
            except Exception as error:  # the other methods are still worth measuring
                outcome = {"error": f"{type(error).__name__}: {str(error)[:500]}"}
            seconds = time.perf_counter() - begin
            results[f"{method}, {where}"] = outcome | {"seconds": seconds}
            print(f"{method}, {where}: {outcome}, {seconds:.0f} s", flush=True)
    return results


def views(name, arguments):
    import alternating
    import numpy as np
    import tensorflow as tf

    import cl_keras as cl

    results = {}
    for size, batch in VIEWS["tiny" if arguments.tiny else "views"]:
        pixels = np.random.default_rng(0).integers(0, 256, [batch, size, size, 3], "uint8")
        images, maker = tf.constant(pixels), cl.views.simclr(size)

        def make(images=images, maker=maker):
            [view.numpy()[0, 0, 0, 0] for view in maker(images, seed=0, step=0, first_row=0)]

        found = alternating.measure({f"{size} px": make}, 5)
        print(alternating.table("views", found, {}))
        for key, value in found.items():
            results[key] = value | {"views_s": 2 * batch / value["median"]}
            print(f"{key}: {results[key]['views_s']:.0f} views per second")
    return results


SECTIONS = {
    "resnet50": whole_step,
    "resnet18": whole_step,
    "mirrored50": mirrored,
    "mirrored18": mirrored,
    "methods": methods,
    "views": views,
    "float16": float16,
}


def _two_devices():
    """MirroredStrategy on two logical devices of the first GPU, or of the CPU."""
    import tensorflow as tf

    kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
    limit = {"memory_limit": 32_000} if kind == "GPU" else {}
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices(kind)[0],
        [tf.config.LogicalDeviceConfiguration(**limit)] * 2,
    )
    return tf.distribute.MirroredStrategy(
        [f"{kind}:0", f"{kind}:1"],
        cross_device_ops=tf.distribute.HierarchicalCopyAllReduce(),  # NCCL needs a card per device
    )


def main():
    arguments = parse()
    out = Path(arguments.out)
    out.mkdir(parents=True, exist_ok=True)
    if arguments.alone:
        import alternating

        results = SECTIONS[arguments.alone](arguments.alone, arguments)
        alternating.write_json(str(out / f"{arguments.alone}.json"), results)
        return 0
    failed = {}
    for name in arguments.only:
        command = [sys.executable, __file__, f"--alone={name}", f"--out={out}"]
        command += ["--tiny"] * arguments.tiny
        command += [f"--peers={arguments.peers}"] * bool(arguments.peers)
        try:
            code = subprocess.run(command, timeout=LIMITS[name]).returncode
        except subprocess.TimeoutExpired:
            code = f"not finished within {LIMITS[name]} s"
        if code:
            failed[name] = code
    print(json.dumps({"failed": failed}))
    return 1 if failed else 0


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(LIMITS))
    parser.add_argument("--out", default="gpu", help="folder for the results")
    parser.add_argument("--peers", help="Python of an environment with torch")
    parser.add_argument("--tiny", action="store_true", help="try every section with small inputs")
    parser.add_argument("--alone", choices=SECTIONS, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
