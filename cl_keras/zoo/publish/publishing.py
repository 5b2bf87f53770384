"""Publishes a finished run as an entry of the zoo."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Sequence

import keras
import numpy as np

from cl_keras import encoders
from cl_keras.files import sha256
from cl_keras.recipes import build
from cl_keras.recipes.flag_file import flags_text
from cl_keras.runs import Run
from cl_keras.version import __version__
from cl_keras.zoo import cards
from cl_keras.zoo.cards import names, page, schema
from cl_keras.zoo.download import hub
from cl_keras.zoo.publish import golden
from cl_keras.zoo.weights import building, tensors, variables

RECIPE = "recipe.flags"
COPIED = ("metrics.csv", "evaluation.json")
LEARNED = "learned encoder"
"""What evaluation.json calls the encoder of the run."""


def publish(
    run_folder: str | pathlib.Path,
    name: str,
    *,
    license: cards.License | str,
    out: str | pathlib.Path = "zoo",
    metrics: Sequence[cards.Metric] | None = None,
    data: str | None = None,
    hardware: str | None = None,
    paper: cards.Paper | None = None,
    origin: str | None = None,
    notes: Sequence[str] = (),
    pretraining: bool = False,
    upload: str | None = None,
) -> pathlib.Path:
    """Makes an entry of the zoo from a finished and evaluated run.

    The folder `out/name` gets `encoder.safetensors`, `golden.safetensors`, `recipe.flags`,
    `metrics.csv`, `evaluation.json`, `card.json` and a page `README.md`; with `pretraining`, also
    `pretraining.safetensors`. It is written atomically. A folder with only a `recipe.flags` is
    completed: its comment stays, and its flags become those of the run.

    Args:
        run_folder: folder of `cl-keras pretrain` and `cl-keras evaluate`.
        name: <method>_<encoder>_<data>[_<tag>].
        license: license of the weights: `cards.License`, or its name.
        out: folder of the entries; default: "zoo".
        metrics: `cards.Metric`s in addition to those of evaluation.json, or instead of that file;
            default: None.
        data: name of the data set within `name`; default: None, as in the run.
        hardware: hardware it was trained on; default: None, unknown.
        paper: `cards.Paper`; default: None.
        origin: who trained it; default: None, "trained with this version of cl_keras".
        notes: notes for the reader; default: none.
        pretraining: include the whole method, which may be large with a bank or a queue; default:
            False.
        upload: hf://owner/repository[/folder] to copy the entry to; needs the extra `hf`; default:
            None.

    Returns:
        `pathlib.Path` of the folder.

    Raises:
        ValueError: if the run is not finished or not evaluated, has no license, or does not match
            the name.
        FileExistsError: if the entry already exists.
        OSError: if it cannot be written or uploaded.
    """
    run, name = Run(run_folder), names.check_name(name)
    words = _words(name, run.config, data)
    if not isinstance(license, cards.License):
        license = cards.License(str(license or "").strip(), None)
    _check_finished(run)
    found = (*_metrics_of(run), *(metrics or ()))
    if not found:
        raise ValueError(
            f"{run.folder} has no evaluation.json; run `cl-keras evaluate --run={run.folder}` "
            "first, or give metrics."
        )
    target = pathlib.Path(out) / name
    comment = _check_target(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".publishing-") as temporary:
        folder = pathlib.Path(temporary)
        description, files, golden_file = _write_weights(folder, run, pretraining)
        card = cards.Card(
            schema=cards.SCHEMA,
            name=name,
            **words,
            encoder=description,
            training=cards.Training(
                run.config["epochs"], (run.config["seed"],), hardware, RECIPE, run.config
            ),
            files=files,
            golden=golden_file,
            metrics=found,
            paper=paper,
            origin=origin or f"trained with cl_keras {__version__}",
            license=license,
            notes=tuple(notes),
        )
        text = schema.as_json(card)
        checked = schema.read(cards.Card, text, "card.json")
        (folder / RECIPE).write_text(flags_text(run.config, name, comment), "utf-8")
        (folder / "README.md").write_text(page.markdown(checked), "utf-8")
        for copied in filter(lambda n: (run.folder / n).is_file(), COPIED):
            shutil.copyfile(run.folder / copied, folder / copied)
        (folder / "card.json").write_text(text, "utf-8")
        _move(folder, target)
    if upload is not None:
        hub.upload(target, upload, name)
    return target


def _words(name, config, data):
    """Method, data and tag of a name, which must match the run."""
    head = f"{config['method']}_{config['encoder']}_"
    if not name.startswith(head) or name == head:
        raise ValueError(f"The name of this run must begin with {head!r}; received {name!r}.")
    rest = name.removeprefix(head)
    data = data or _data_word(config["data"])
    if rest != data and not rest.startswith(f"{data}_"):
        raise ValueError(
            f"The run was trained on {config['data']!r}, so its name must be {head}{data}[_<tag>]; "
            f"received {name!r}. Give data=… (--data) if the data set has another name."
        )
    return {"method": config["method"], "data": data, "tag": rest[len(data) + 1 :] or None}


def _data_word(spec):
    """The images of a run as part of a name: "cifar10" for "tfds:cifar10/train"."""
    kind, _, rest = spec.partition(":")
    word = (rest or kind).partition("/")[0]
    if kind in ("folder", "pairs"):
        word = pathlib.PurePath(rest).name
    return re.sub(r"[^a-z0-9]+", "_", word.lower()).strip("_")


def _check_finished(run):
    epochs = run.metrics().get("epoch", [])
    if not run.encoder_path.is_file() or not epochs or epochs[-1] != run.config["epochs"]:
        done = int(epochs[-1]) if epochs else 0
        raise ValueError(
            f"{run.folder} is not finished: {done} of {run.config['epochs']} epochs are done"
            f"{'' if run.encoder_path.is_file() else ', and there is no encoder.keras'}. Run the "
            "same `cl-keras pretrain` command again to resume it."
        )


def _metrics_of(run):
    """The metrics of the encoder in evaluation.json, if it exists, each with its protocol."""
    path = run.folder / "evaluation.json"
    if not path.is_file():
        return ()
    try:
        return tuple(
            cards.Metric(metric["name"], float(metric["value"]), str(metric["protocol"]), None)
            for metric in json.loads(path.read_text("utf-8"))["encoders"][LEARNED]
            if not metric["name"].endswith("_labels")  # the label curve
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} was not written by `cl-keras evaluate`: {error!r}.") from None


def _check_target(target):
    """The comment of a recipe without weights, or None; any other folder is refused."""
    if not target.exists() and not target.is_symlink():
        return None
    if target.is_symlink() or not target.is_dir() or os.listdir(target) != [RECIPE]:
        raise FileExistsError(f"{target} exists and is left as it is. Choose another name or tag.")
    lines = (target / RECIPE).read_text("utf-8").splitlines()
    return [line for line in lines if line.startswith("#")]


def _write_weights(folder, run, pretraining):
    """Writes the weights, and checks that the encoder can be restored from them."""
    trained = run.load_encoder()
    description = cards.Encoder(
        name=run.config["encoder"],
        image_size=encoders.image_size(trained),
        channels=trained.input_shape[-1],
        features=trained.output_shape[-1],
        stem=None,
        width=1.0,
        norm=build.METHODS[run.config["method"]].encoder_norm,
    )
    tensors.write(folder / "encoder.safetensors", variables.values(trained))
    with _single_precision():
        with open(folder / "encoder.safetensors", "rb") as stream:
            again = building.filled(lambda: building.encoder(description), stream, "the encoder")
        golden.write(folder / "golden.safetensors", again, description)
    files = [_file("encoder", folder / "encoder.safetensors")]
    if pretraining:
        model = building.pretraining(run.config, description, f"{run.folder}/config.json")
        run.checkpoints.restore(model)
        for name, value in variables.values(model.encoder).items():
            if not np.array_equal(value, variables.values(trained)[name]):
                raise ValueError(f"{run.folder}: the last checkpoint does not match encoder.keras.")
        tensors.write(folder / "pretraining.safetensors", variables.values(model))
        files.append(_file("pretraining", folder / "pretraining.safetensors"))
    return description, tuple(files), _file("golden", folder / "golden.safetensors")


def _file(kind, path):
    return cards.File(kind, cards.OWN_FORMAT, path.name, path.stat().st_size, sha256(path))


def _move(folder, target):
    """Gives the finished folder its name; the card, which makes it an entry, is moved last."""
    os.chmod(folder, 0o755)
    if not target.exists():
        os.rename(folder, target)
        folder.mkdir()  # for the end of `TemporaryDirectory`
        return
    for path in sorted(folder.iterdir(), key=lambda path: path.name == "card.json"):
        os.replace(path, target / path.name)


@contextlib.contextmanager
def _single_precision():
    """Golden features are always computed in float32, whatever the caller's policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
