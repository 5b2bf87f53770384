"""`cl-keras COMMAND [FLAGS]`: finds the command, reads its flags, and reports errors in a sentence.

Flags and help come from `commands`, without TensorFlow, so that help is immediate.
"""

import importlib
import re
import shutil
import sys
import textwrap

from absl import flags as absl_flags

from cl_keras import collector
from cl_keras.cli import flags as cli_flags
from cl_keras.cli.commands import COMMANDS
from cl_keras.recipes import signatures
from cl_keras.recipes.config import DEFAULT_METHOD, Config
from cl_keras.spelling import did_you_mean
from cl_keras.stopping import StopRequest
from cl_keras.version import __version__

FAILURE, USAGE, PREEMPTED, INTERRUPTED = 1, 2, 75, 130
"""Exit codes besides 0: the command failed; the command line is wrong; stopped by SIGTERM, to be
run again; stopped by ctrl-C."""


def run() -> None:
    """Entry point of the `cl-keras` command."""
    sys.exit(main(sys.argv[1:]))


def main(arguments: list[str]) -> int:
    """Runs one command.

    Args:
        arguments: the command line, without the program's name.

    Returns:
        The exit code.
    """
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if arguments else USAGE
    if arguments[0] == "--version":
        print(__version__)
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        hint = did_you_mean(name, COMMANDS)
        return _complain(f"unknown command {name!r}.{hint} `cl-keras --help` lists all.", USAGE)
    command, flags = COMMANDS[name], absl_flags.FlagValues()
    cli_flags.define(flags, *command.options)
    if {"-h", "--help"} & set(rest):
        print(_help(name, command, flags, rest))
        return 0
    return _parse_and_run(name, command, flags, rest)


def _parse_and_run(name, command, flags, arguments):
    try:
        surplus = flags([name, *arguments])[1:]
    except absl_flags.Error as error:
        return _complain(f"{error}\n`cl-keras {name} --help` lists the flags.", USAGE, name)
    except UnicodeDecodeError:
        sentence = "--flagfile must be a text file with one --name=value per line; it is not UTF-8."
        return _complain(sentence, USAGE, name)
    action = []
    if command.actions:
        action, surplus = surplus[:1], surplus[1:]
        if not action or action[0] not in command.actions:
            known = ", ".join(command.actions)
            given = f"; received {action[0]!r}" if action else ""
            return _complain(f"give an action, one of {known}{given}.", USAGE, name)
    if surplus:
        given = " ".join(surplus)
        return _complain(f"flags are written --name=value; received {given!r}.", USAGE, name)
    return _run_command(name, command, flags, action)


def _run_command(name, command, flags, action):
    """Runs the command, and reports an error in one sentence."""
    try:
        options = [cli_flags.read(flags, cls) for cls in command.options]
        with StopRequest(at_once=True):  # training, which has to save first, handles this itself
            # Only the module that does the work imports TensorFlow.
            with collector.paused():
                module = importlib.import_module(f"cl_keras.cli.{name}")
            module.main(*options, *action)
    except KeyboardInterrupt:
        return _complain("stopped; the same command resumes the work.", INTERRUPTED, name)
    except SystemExit as stop:
        if stop.code != PREEMPTED:
            raise
        again = "stopped by SIGTERM; the progress is saved, and the same command resumes."
        return _complain(again, PREEMPTED, name)
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError, IndexError) as error:
        return _complain(str(error), FAILURE, name)
    except Exception as error:  # TensorFlow's errors, which may contain one of ours
        if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
            return _complain(_out_of_memory(str(error)), FAILURE, name)
        if type(error).__module__.startswith("tensorflow"):
            return _complain(_innermost(str(error)), FAILURE, name)
        raise
    return 0


def _out_of_memory(message):
    shape = re.search(r"shape\s*[\[(][\d, ]*[\])]", message)
    return (
        f"out of memory{f' (for an array of {shape[0]})' if shape else ''}. Use smaller numbers: "
        "of --batch_size, --image_size, or the sizes in --method_options; or a smaller encoder."
    )


def _innermost(message):
    """The sentence of an error that was raised inside a tf.data pipeline."""
    for line in message.splitlines():
        for kind in ("ValueError: ", "OSError: ", "RuntimeError: "):
            if kind in line:
                return line.split(kind, 1)[1]
    return message


def _complain(message, code, name=None):
    print(f"cl-keras{f' {name}' if name else ''}: {message}", file=sys.stderr)
    return code


def _overview():
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            "usage: cl-keras COMMAND [--flag=value ...]",
            "",
            *lines,
            "",
            "`cl-keras COMMAND --help` describes a command and its flags.",
            "Flags can be read from a file: --flagfile=recipe.flags, one --flag=value per line.",
            "Exit codes: 0 success, 1 failure (the message says why), 2 invalid flags, 75 stopped",
            "by SIGTERM (the same command resumes), 130 stopped by ctrl-C.",
        ]
    )


def _help(name, command, flags, arguments):
    columns = min(shutil.get_terminal_size().columns, 100)
    lines = [
        f"usage: cl-keras {name}{' ACTION' * bool(command.actions)} [--flag=value ...]",
        "",
        command.help,
        "",
        "Flags:",
    ]
    for flag in sorted((flags[each] for each in flags), key=_optional):
        value = "" if flag.default is None else f"={flag.default_as_str.strip(chr(39))}"
        lines += _described(f"--{flag.name}{value}", _with_choices(flag), columns)
    if Config in command.options:
        lines += _help_on_method(arguments, columns)
    return "\n".join(lines)


def _help_on_method(arguments, columns):
    """The options of the method on the command line."""
    chosen = [word.partition("=")[2] for word in arguments if word.startswith("--method=")]
    method = chosen[-1] if chosen and chosen[-1] in signatures.methods() else DEFAULT_METHOD
    title = (
        f"Options of {method}, for --method_options (add --method=NAME to see those of another "
        f"method). {signatures.summary(method)}"
    )
    lines = ["", *textwrap.wrap(title, columns)]
    for name, known in signatures.method_options(method).items():
        default = "" if known.default in (None, signatures.REQUIRED) else f"={known.default}"
        lines += _described(f"{name}{default}", known.help, columns)
    return lines


def _described(entry, text, columns):
    indent = " " * 8
    wrapped = textwrap.wrap(text, columns - 8, initial_indent=indent, subsequent_indent=indent)
    return [f"  {entry}", *wrapped]


def _with_choices(flag):
    """The help of a flag, with its choices."""
    words = getattr(flag.parser, "enum_values", None)
    if not words:
        return flag.help
    own = flag.help.removeprefix(f"<{'|'.join(words)}>: ")  # absl's prefix
    return f"{own} One of {', '.join(words)}."


def _optional(flag):
    return not flag.help.startswith("Required")


if __name__ == "__main__":
    run()
