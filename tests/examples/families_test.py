"""The examples of the four families, as they stand, small."""

import importlib.util
import pathlib

import pytest

EXAMPLES = pathlib.Path(__file__).parents[2] / "examples"

SHOWN = {
    "end_to_end": "saved:",
    "momentum_encoder": "keys in the queue:",
    "memory_bank": "nearest to image 0: [0",
    "clustering": "images of each prototype:",
}


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_runs(name, tmp_path, capsys):
    path = EXAMPLES / f"{name}.py"
    assert len(path.read_text().splitlines()) < 60
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(["--images=256", "--epochs=1", f"--out={tmp_path / 'out'}"])
    shown = capsys.readouterr().out
    assert "k-NN accuracy: 0." in shown and SHOWN[name] in shown


def test_every_example_is_run():
    scripts = {path.stem for path in EXAMPLES.glob("*.py")}
    assert scripts == {*SHOWN, "finetune"}
