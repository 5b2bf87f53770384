import subprocess
import sys

import pytest

from cl_keras.cli import main
from cl_keras.version import __version__


def test_help_names_every_command(capsys):
    assert main.main(["--help"]) == 0
    printed = capsys.readouterr().out
    for command in main.COMMANDS:
        assert f"  {command} " in printed
    assert main.main([]) == main.USAGE
    assert main.main(["--version"]) == 0
    assert capsys.readouterr().out.endswith(__version__ + "\n")


@pytest.mark.parametrize("command", main.COMMANDS)
def test_every_command_describes_its_flags(command, capsys):
    assert main.main([command, "--help"]) == 0
    printed = capsys.readouterr().out
    assert f"usage: cl-keras {command}" in printed and "\nFlags:\n  --" in printed
    assert all(len(line) <= 100 for line in printed.splitlines())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["pretain"], "Did you mean 'pretrain'"),
        (["pretrain", "--run=a"], "--data"),
        (["pretrain", "--rum=a", "--data=b"], "Unknown command line flag 'rum'"),
        (["pretrain", "--run=a", "--data=b", "--batch_size=1"], "batch_size"),
        (["pretrain", "--run=a", "--data=b", "--method=magic"], "should be one of"),
        (["pretrain", "photos", "--run=a", "--data=b"], "received 'photos'"),
        (["zoo"], "give an action, one of list, card"),
        (["zoo", "lst"], "one of list, card, download, publish, import; received 'lst'"),
        (["zoo", "list", "more"], "received 'more'"),
    ],
)
def test_a_wrong_command_line_has_its_own_exit_code(arguments, message, capsys):
    assert main.main(arguments) == main.USAGE
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["pretrain", "--data=folder:nowhere"], "nowhere"),
        (["pretrain", "--data=fashion_mnist_mini", "--views=[1]"], "must be a JSON object"),
        (["pretrain", "--data=fashion_mnist_mini", "--views={"], "must be JSON"),
        (
            ["pretrain", "--data=fashion_mnist_mini", '--method_options={"queue": 1}'],
            "simclr has no option 'queue'. It has head, ",
        ),
        (["pretrain", "--data=fashion_mnist_mini", "--temperature=0"], "above 0; received 0.0"),
        (["pretrain", "--data=fashion_mnist_mini", "--batch_size=20000"], "fewer than one batch"),
        (["evaluate"], "holds no run"),
        (["export", "--out=b"], "holds no run"),
        (["embed", "--data=fashion_mnist_mini", "--out=b.txt"], "must end in .npz or .parquet"),
    ],
)
def test_a_mistake_ends_the_command_with_a_message(arguments, message, capsys, tmp_path):
    assert main.main([*arguments, f"--run={tmp_path / 'run'}"]) == main.FAILURE
    assert message in capsys.readouterr().err


def test_one_encoder_must_be_named(capsys, tmp_path):
    assert main.main(["export", f"--out={tmp_path}"]) == main.FAILURE
    assert "one of --run=FOLDER, --encoder=FILE.keras or --zoo=NAME" in capsys.readouterr().err
    assert main.main(["export", f"--out={tmp_path}", "--encoder=a.h5"]) == main.FAILURE
    assert "must be an existing .keras file" in capsys.readouterr().err


def test_stopping_has_its_own_code(monkeypatch, capsys):
    from cl_keras.cli import export

    def stopped(flags):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "main", stopped)
    assert main.main(["export", "--out=a"]) == main.INTERRUPTED
    assert "the same command resumes the work" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in main.COMMANDS)])
def test_help_needs_no_tensorflow(arguments):
    program = (
        f"import sys; sys.argv = {['cl-keras', *arguments]!r}\n"
        "from cl_keras.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "heavy = {'tensorflow', 'keras', 'numpy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: cl-keras")


def test_the_help_of_pretrain_describes_the_method(capsys):
    assert main.main(["pretrain", "--method=moco", "--help"]) == 0
    printed = capsys.readouterr().out
    assert "Options of moco" in printed and "  queue_size=65536\n" in printed


def test_a_flagfile_that_is_not_text_is_refused(capsys, tmp_path):
    path = tmp_path / "recipe.flags"
    path.write_bytes(b"--run=a\n\xff\xfe\x00")
    assert main.main(["pretrain", f"--flagfile={path}"]) == main.USAGE
    assert "must be a text file with one --name=value per line" in capsys.readouterr().err
