"""Keras silently replaces a class by another with the same registered name."""

import ast
import collections
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "cl_keras"


def test_no_two_classes_are_registered_under_one_name():
    names = collections.Counter()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(
                "register_keras_serializable" in ast.unparse(d) for d in node.decorator_list
            ):
                names[node.name] += 1
    assert len(names) > 20
    assert [name for name, count in names.items() if count > 1] == []
