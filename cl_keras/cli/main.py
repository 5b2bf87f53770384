"""`cl-keras COMMAND [FLAGS]`: finds the command, reads its flags, and turns errors into words."""

import difflib
import importlib
import shutil
import sys
import textwrap

from absl import flags as absl_flags

from cl_keras.version import __version__

COMMANDS = {
    "pretrain": "train an encoder on images without labels",
    "evaluate": "measure a run beside its baselines, and write its report",
    "embed": "write the features of images to a file",
    "export": "write an encoder as a SavedModel for TensorFlow Serving",
    "zoo": "published weights: list, card, download, publish, import",
    "demo": "all of it, on the bundled images, in about three minutes",
}

FAILURE, USAGE, PREEMPTED, INTERRUPTED = 1, 2, 75, 130
"""Exit codes beside 0: it could not be done; the command line is wrong; stopped by SIGTERM, which
is to be tried again; stopped by ctrl-C."""


def run():
    """Entry point of the `cl-keras` command."""
    sys.exit(main(sys.argv[1:]))


def main(arguments):
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
        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return _complain(f"there is no command {name!r}.{hint} `cl-keras --help` lists all.", USAGE)
    command = importlib.import_module(f"cl_keras.cli.{name}")
    flags = absl_flags.FlagValues()
    command.define_flags(flags)
    if {"-h", "--help"} & set(rest):
        print(_help(name, command, flags))
        return 0
    return _run_command(name, command, flags, rest)


def _run_command(name, command, flags, arguments):
    try:
        surplus = flags([name, *arguments])[1:]
    except absl_flags.Error as error:
        return _complain(f"{error}\n`cl-keras {name} --help` lists the flags.", USAGE, name)
    action = []
    if hasattr(command, "ACTIONS"):
        action, surplus = surplus[:1], surplus[1:]
        if not action or action[0] not in command.ACTIONS:
            known = ", ".join(command.ACTIONS)
            given = f"; received {action[0]!r}" if action else ""
            return _complain(f"say what to do, one of {known}{given}.", USAGE, name)
    if surplus:
        given = " ".join(surplus)
        return _complain(f"flags are written --name=value; received {given!r}.", USAGE, name)
    try:
        command.main(flags, *action)
    except KeyboardInterrupt:
        return _complain("stopped; the same command takes the work up again.", INTERRUPTED, name)
    except SystemExit as stop:
        if stop.code != PREEMPTED:
            raise
        again = "stopped by SIGTERM; a checkpoint is saved, and the same command takes it up."
        return _complain(again, PREEMPTED, name)
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError, IndexError) as error:
        return _complain(str(error), FAILURE, name)
    except Exception as error:  # TensorFlow's errors; the message of ours is inside
        if type(error).__module__.startswith("tensorflow"):
            return _complain(_innermost(str(error)), FAILURE, name)
        raise
    return 0


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
    lines = [f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        [
            "usage: cl-keras COMMAND [--flag=value ...]",
            "",
            *lines,
            "",
            "`cl-keras COMMAND --help` describes a command and its flags.",
            "Flags can be read from a file: --flagfile=recipe.flags, one --flag=value a line.",
            "Exit codes: 0 done, 1 failed (the message says why), 2 wrong flags, 75 stopped by",
            "SIGTERM (the same command goes on), 130 stopped by ctrl-C.",
        ]
    )


def _help(name, command, flags):
    columns = min(shutil.get_terminal_size().columns, 100)
    lines = [
        f"usage: cl-keras {name}{' ACTION' * hasattr(command, 'ACTIONS')} [--flag=value ...]",
        "",
        command.__doc__.strip(),
        "",
        "Flags:",
    ]
    for flag in sorted(flags.get_flags_for_module(command.__name__), key=_required_first):
        value = "" if flag.default is None else f"={flag.default_as_str.strip(chr(39))}"
        lines.append(f"  --{flag.name}{value}")
        lines += textwrap.wrap(
            flag.help, columns - 8, initial_indent=" " * 8, subsequent_indent=" " * 8
        )
    return "\n".join(lines)


def _required_first(flag):
    return (not flag.help.startswith("Required"), flag.name)


if __name__ == "__main__":
    run()
