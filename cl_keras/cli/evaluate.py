"""Evaluates an encoder against baselines, gives a verdict, and writes a report."""

import pathlib

import keras

from cl_keras import data
from cl_keras.cli import outputs, trained
from cl_keras.cli.commands import Evaluate
from cl_keras.pretraining import evaluation_report, judgment, sources
from cl_keras.runs import Run


def main(flags: Evaluate) -> None:
    """Evaluates, prints the table and the verdict, and writes the report."""
    if flags.data is not None and flags.train_data is not None:
        raise ValueError("--data and --train_data are the same; give only one of them.")
    bank = flags.data or flags.train_data
    if flags.run is None or flags.zoo is not None or flags.encoder is not None:
        _evaluate_without_run(flags, bank)
        return
    run = Run(flags.run)
    judgment.judge(run, *_images_of(run, bank, flags.test_data))


def _images_of(run, bank, test):
    """The bank and the images to classify, by the flags or else by the run."""
    config = sources.config_of(run)
    found = sources.load(
        config.replace(data=bank or config.data, test_data=test or config.test_data)
    )
    if found[1] is None:
        raise ValueError("The run has no test images; give --test_data.")
    return found


def _evaluate_without_run(flags, bank):
    """Evaluates an encoder without a run."""
    learned = trained.load_encoder(flags)
    if bank is None or flags.test_data is None:
        raise ValueError("An encoder without a run needs --data and --test_data.")
    if flags.out is not None:
        outputs.make_folder(flags.out)
    options = trained.image_options(learned)
    sources = [data.load(spec, **options) for spec in (bank, flags.test_data)]
    keras.utils.set_random_seed(0)
    result = judgment.evaluate_encoder(learned, keras.models.clone_model(learned), *sources)
    path = None
    if flags.out is not None:
        judgment.save(result, flags.out)
        title = flags.zoo or pathlib.Path(flags.encoder).name
        path = pathlib.Path(flags.out) / "report.html"
        path = evaluation_report.write(path, result, *sources, title=title)
    judgment.show(result, path)
