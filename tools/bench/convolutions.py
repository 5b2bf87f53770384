"""Speed of 3×3 convolutions on a CPU: Winograd's form vs. TensorFlow's, forward and backward.

  python tools/bench/convolutions.py --json=convolutions.json

Each case is three convolutions, one after the other, with ReLU. Measured to set the constants of
`cl_keras.encoders.winograd.is_faster`; the last column says what it chooses.
"""

import argparse

import tensorflow as tf
from alternating import measure, write_json

from cl_keras.encoders import winograd

CASES = [
    (8, 32, 64),
    (8, 16, 128),
    (8, 4, 512),
    (32, 32, 64),
    (32, 4, 512),
    (64, 7, 512),
    (64, 14, 256),
    (256, 32, 64),
    (256, 16, 128),
    (256, 8, 256),
    (256, 7, 64),
    (256, 4, 512),
]
"""Images, their side in pixels, channels."""


def plain(images, kernel):
    return tf.nn.conv2d(images, kernel, 1, "SAME")


def backward_and_forward(convolve, *given):
    """A call that computes all gradients, and waits for them."""

    @tf.function(autograph=False)
    def run(images, kernels, d_outputs):
        with tf.GradientTape() as tape:
            tape.watch([images, kernels])
            outputs = images
            for kernel in kernels:
                outputs = tf.nn.relu(convolve(outputs, kernel))
        gradients = tape.gradient(outputs, [images, *kernels], d_outputs)
        return sum(tf.cast(tf.reduce_sum(each), tf.float32) for each in gradients)

    return lambda: run(*given).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", type=int, default=len(CASES), help="only the first of them")
    parser.add_argument("--json", help="file for all results")
    options = parser.parse_args()
    print("images, side, channels | type | plain ms | Winograd / plain: wall | CPU | chosen")
    print("---|---|---|---|---|---")
    results = {}
    for count, side, channels in CASES[: options.cases]:
        shapes = [count, side, side, channels], [3, 3, 3, channels, channels]
        for dtype in (tf.float32, tf.bfloat16):
            images, kernels, d_outputs = (
                tf.cast(tf.random.stateless_normal(shape, [0, 1], stddev=0.05), dtype)
                for shape in (*shapes, shapes[0])
            )
            given = images, tf.unstack(kernels), d_outputs
            times = measure(
                {
                    "plain": backward_and_forward(plain, *given),
                    "winograd": backward_and_forward(winograd.convolve, *given),
                },
                options.rounds,
            )
            name = f"{count}, {side}, {channels} | {dtype.name}"
            chosen = "Winograd" if winograd.is_faster(images, channels) else "plain"
            wall, cpu = (times["winograd"][key] / times["plain"][key] for key in ("median", "cpu"))
            milliseconds = 1e3 * times["plain"]["median"]
            print(f"{name} | {milliseconds:.1f} | {wall:.2f} | {cpu:.2f} | {chosen}", flush=True)
            results[name] = {**times, "chosen": chosen}
    if options.json:
        write_json(options.json, results)


if __name__ == "__main__":
    main()
