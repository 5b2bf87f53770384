"""The methods and their options, read from their source, so that help does not need TensorFlow.

A method is a class that `cl_keras.methods` exports under `register_keras_serializable`; its options
are the keyword arguments of its constructor, with their defaults, and help from its docstring.
"""

import ast
import dataclasses
import functools
import pathlib
import re
from typing import Any

PACKAGE = pathlib.Path(__file__).parents[1]
FOLDERS = ("training", "methods")

NOT_OPTIONS = {"encoder", "teacher", "views", "other_encoder", "other_views", "seed", "num_images"}
"""Constructor arguments that a configuration gives in another way."""

REQUIRED = object()
"""Stands for the default of an argument that has none."""


@dataclasses.dataclass(frozen=True)
class MethodOption:
    """One argument of a method's constructor."""

    name: str
    default: Any
    help: str


@functools.cache
def methods() -> dict[str, str]:
    """Maps the name of each method on the command line, `"moco"`, to its class, `"MoCo"`."""
    exported = set()
    for node in ast.walk(_parsed(PACKAGE / "methods" / "__init__.py")):
        if isinstance(node, ast.ImportFrom):
            exported |= {alias.name for alias in node.names}
    found = [name for name, node in _classes().items() if name in exported and _is_method(node)]
    return {name.lower(): name for name in sorted(found, key=str.lower)}


def summary(method: str) -> str:
    """The first line of a method's docstring, which names its paper."""
    return _docstring(_classes()[methods()[method]]).partition("\n")[0]


@functools.cache
def method_options(method: str) -> dict[str, MethodOption]:
    """The options of a method by name, its own before those of all methods."""
    found = {}
    for node in _with_bases(methods()[method]):
        constructor = _constructor(node)
        if constructor is None:
            continue
        described = _described_arguments(_docstring(node))
        for name, default in _keywords(constructor):
            if name not in NOT_OPTIONS and name not in found:
                found[name] = MethodOption(name, default, described.get(name, ""))
        if constructor.args.kwarg is None:
            break
    return found


def takes(method: str, name: str) -> bool:
    """Whether the constructor of a method, or of one of its bases, takes an argument."""
    for node in _with_bases(methods()[method]):
        constructor = _constructor(node)
        if constructor is not None:
            arguments = constructor.args
            if name in {each.arg for each in arguments.args + arguments.kwonlyargs}:
                return True
    return False


@functools.cache
def _parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@functools.cache
def _classes():
    found = {}
    for folder in FOLDERS:
        for path in sorted((PACKAGE / folder).glob("*.py")):
            for node in _parsed(path).body:
                if isinstance(node, ast.ClassDef):
                    found[node.name] = node
    return found


def _is_method(node):
    return any("register_keras_serializable" in ast.unparse(d) for d in node.decorator_list)


def _with_bases(name):
    """The class and its bases within this package."""
    nodes, names = [], [name]
    while names:
        node = _classes().get(names.pop(0))
        if node is not None:
            nodes.append(node)
            names += [ast.unparse(base).rpartition(".")[2] for base in node.bases]
    return nodes


def _constructor(node):
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and item.name == "__init__":
            return item
    return None


def _keywords(constructor):
    """Keyword arguments and their defaults."""
    arguments = constructor.args
    return [
        (argument.arg, REQUIRED if default is None else _value(default))
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]


def _value(node):
    try:
        return ast.literal_eval(node)
    except ValueError:  # a name or a call, which would have to be run
        return None


def _docstring(node):
    return ast.get_docstring(node) or ""


def _described_arguments(docstring):
    """Maps the names below "Args:" to their descriptions."""
    section = re.search(r"^Args:\n((?:    .*\n?|\n)*)", docstring, re.MULTILINE)
    found, name = {}, None
    for line in section.group(1).splitlines() if section else ():
        entry = re.match(r"    (\w+): (.*)", line)
        if entry:
            name = entry.group(1)
            found[name] = entry.group(2)
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found
