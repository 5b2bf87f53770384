"""All public functions, constructors and methods are annotated, for editors and type checkers."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

import cl_keras

ROOMS = [name for name in cl_keras.__all__ if inspect.ismodule(getattr(cl_keras, name))]


def missing(function: Any, *, constructor: bool = False) -> list[str]:
    """Names of parameters without an annotation, and "return"."""
    signature = inspect.signature(function)
    free = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    found = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.name not in ("self", "cls")
        and parameter.kind not in free
        and parameter.annotation is parameter.empty
    ]
    if not constructor and signature.return_annotation is signature.empty:
        found.append("return")
    return found


def own_functions(cls: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that a class writes itself, without overrides of others."""
    for name, member in vars(cls).items():
        inherited = any(
            name in vars(base)
            for base in cls.__mro__[1:]
            if not base.__module__.startswith("cl_keras")
        )
        if isinstance(member, (classmethod, staticmethod)):
            member = member.__func__
        if isinstance(member, property):
            member = member.fget
        written = inspect.isfunction(member) and member.__module__.startswith("cl_keras")
        if written and not name.startswith("_") and not inherited:
            yield name, member


def unannotated(module: Any) -> list[str]:
    """One line for every public function, constructor or method that lacks an annotation."""
    found = []
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isfunction(value):
            found.append((name, missing(value)))
        elif inspect.isclass(value):
            if inspect.isfunction(value.__init__):
                found.append((name, missing(value.__init__, constructor=True)))
            found += [(f"{name}.{own}", missing(f)) for own, f in own_functions(value)]
    return [f"{name}: {', '.join(names)}" for name, names in found if names]


@pytest.mark.parametrize("room", ["", *ROOMS])
def test_everything_public_is_annotated(room):
    assert unannotated(getattr(cl_keras, room) if room else cl_keras) == []


def test_missing_annotations_are_found():
    class Module:
        __all__ = ["function", "Class"]

        @staticmethod
        def function(a: int, b, *args, **kwargs):
            pass

        class Class:
            def __init__(self, c, d: int = 0):
                pass

            def method(self, e: int) -> int:
                return e

            @property
            def size(self):
                return 0

    Module.Class.method.__module__ = Module.Class.size.fget.__module__ = "cl_keras.room"
    assert unannotated(Module) == ["function: b, return", "Class: c", "Class.size: return"]
