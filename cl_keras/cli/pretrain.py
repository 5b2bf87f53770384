"""Trains an encoder on images without labels, and writes a run folder.

  cl-keras pretrain --data=folder:photos --image_size=96 --run=runs/photos
  cl-keras pretrain --data=folder:photos --image_size=96 --run=runs/photos --method=moco

Without further flags the settings are those of the method's authors, scaled to the batch and to the
number of images; --preset=small is for small images, few data and a CPU.

The run folder holds the configuration, the versions, metrics.csv, TensorBoard's logs,
checkpoints, a list of unreadable files, and at the end encoder.keras. The same command resumes a
stopped run from its last checkpoint, and ends with the same weights as if it had not been stopped.
SIGTERM and ctrl-C save a checkpoint first. Another configuration on an existing run is refused.
"""

from cl_keras.cli import flags as cli_flags
from cl_keras.recipes import signatures
from cl_keras.recipes.config import Config, Execution


def define_flags(flags):
    """Declares the flags of the command."""
    cli_flags.define(flags, Config, Execution)


def more_help(arguments):
    """A title, and what the method on the command line can be told: names and help."""
    chosen = [word.partition("=")[2] for word in arguments if word.startswith("--method=")]
    method = chosen[-1] if chosen and chosen[-1] in signatures.methods() else Config.method
    title = (
        f"Options of {method}, for --method_options (add --method=NAME to see those of another "
        f"method). {signatures.summary(method)}"
    )
    entries = []
    for name, known in signatures.method_options(method).items():
        default = "" if known.default in (None, signatures.REQUIRED) else f"={known.default}"
        entries.append((f"{name}{default}", known.help))
    return title, entries


def main(flags):
    """Trains, or resumes training."""
    # TensorFlow is imported here, and not for the help.
    from cl_keras.cli import training

    config, execution = cli_flags.read(flags, Config), cli_flags.read(flags, Execution)
    training.pretrain(config, execution)
