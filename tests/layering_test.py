"""Which folder may import which. A cycle, or an import from further right, fails the test."""

import ast
import graphlib
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "cl_keras"

LAYERS = """
    version collector aligned bounds files locks stopping spelling similarity loops distribute data
    views encoders heads negatives losses clustering optimizers training methods recipes evaluation
    callbacks downstream export runs zoo report explore pretraining cli
""".split()
"""A folder or file may import from those before it, and from itself."""

REPORT_MAY_IMPORT = {
    "numpy",
    "PIL",
    "matplotlib",
    "cl_keras.files",
    "cl_keras.version",
} | sys.stdlib_module_names


def modules_of(package):
    """Module name to file; the name of a folder stands for its `__init__.py`."""
    modules = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return modules


def imports_of(module, modules):
    """Names of all modules that a module imports, anywhere in its file."""
    path = modules[module]
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            source = ".".join([*above * (node.level > 0), *filter(None, [node.module])])
            for alias in node.names:  # `import b` from a: the module a.b, or a name in a
                module_or_name = f"{source}.{alias.name}"
                found.add(module_or_name if module_or_name in modules else source)
    return found


def layer_of(module):
    return module.split(".")[1] if "." in module else None


def violations(package):
    """One line for each import that is not allowed, and for each cycle."""
    modules = modules_of(package)
    graph = {module: imports_of(module, modules) for module in modules}
    found = []
    for module, imported in graph.items():
        found += [
            f"{module} imports {name}: {why}"
            for name in sorted(imported)
            if (why := why_not(module, name, package.name))
        ]
    inside = {m: [n for n in names if n in modules] for m, names in graph.items()}
    try:
        list(graphlib.TopologicalSorter(inside).static_order())
    except graphlib.CycleError as error:
        found.append("circle: " + " <- ".join(error.args[1]))
    return found


def why_not(module, imported, package):
    """The reason why `module` may not import `imported`, or None."""
    layer, target = layer_of(module), layer_of(imported)
    internal = imported.split(".")[0] == package
    if layer == "report" and target != "report":
        allowed = imported in REPORT_MAY_IMPORT or (
            not internal and imported.split(".")[0] in REPORT_MAY_IMPORT
        )
        return None if allowed else "the report is made from arrays and logs alone"
    if not internal:
        return None
    if target is None:
        return "nothing inside imports the top; import the module that defines it"
    if target == "cli" and layer != "cli":
        return "flags stop at the command line"
    if layer is None:
        return None
    if unknown := {layer, target} - set(LAYERS):
        return f"{unknown.pop()} has no place in LAYERS"
    if LAYERS.index(target) > LAYERS.index(layer):
        return f"{target} stands to the right of {layer}"
    if module.count(".") == 2 and imported.count(".") == 2 and layer == target == "methods":
        return "a method never imports another"
    return None


def test_the_package_keeps_the_order():
    assert len(modules_of(PACKAGE)) > 10
    assert violations(PACKAGE) == []


def make_package(tmp_path, **files):
    package = tmp_path / "cl_keras"
    for name, text in files.items():
        path = package.joinpath(*name.split("__")).with_suffix(".py")
        for folder in path.parents[: len(name.split("__"))]:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "__init__.py").touch()
        path.write_text(text)
    return package


def test_what_is_allowed_passes(tmp_path):
    package = make_package(
        tmp_path,
        version="import os",
        distribute="import tensorflow as tf",
        data__source="from cl_keras import distribute\nfrom cl_keras.version import __version__",
        data__folder="from cl_keras.data.source import Source\nfrom . import source",
        methods__contrastive_model="from cl_keras.data import source",
        methods__simclr="from cl_keras.training.pretext_model import PretextModel",
        report__page="import html, numpy as np\nfrom cl_keras.version import __version__",
        report__plots="from matplotlib.figure import Figure\nfrom cl_keras.report import page",
        cli__main="from cl_keras.methods.simclr import SimCLR\nfrom cl_keras import report",
    )
    (package / "__init__.py").write_text("from cl_keras.methods.simclr import SimCLR")
    assert violations(package) == []


@pytest.mark.parametrize(
    "files, complaint",
    [
        ({"data__a": "from cl_keras import views", "views__b": ""}, "views stands to the right"),
        ({"data__a": "from ..views import b", "views__b": ""}, "imports cl_keras.views.b: views"),
        ({"data__a": "def f():\n  import cl_keras.zoo.b", "zoo__b": ""}, "zoo stands to the right"),
        ({"data__a": "import cl_keras"}, "imports cl_keras: nothing inside imports the top"),
        ({"data__a": "from cl_keras import SimCLR"}, "nothing inside imports the top"),
        ({"data__a": "from .. import SimCLR"}, "nothing inside imports the top"),
        ({"runs__a": "from cl_keras.cli import b", "cli__b": ""}, "flags stop"),
        ({"new__a": "from cl_keras import version", "version": ""}, "new has no place in LAYERS"),
        (
            {"methods__a": "from cl_keras.methods import b", "methods__b": ""},
            "a method never imports another",
        ),
        ({"report__a": "import tensorflow as tf"}, "imports tensorflow: the report is made"),
        ({"report__a": "from cl_keras.data import b", "data__b": ""}, "the report is made"),
        (
            {"data__a": "from cl_keras.data import b", "data__b": "from cl_keras.data import a"},
            "circle: cl_keras.data.",
        ),
        ({"data__a": "from cl_keras.data import b", "data__b": "from . import a"}, "circle: "),
    ],
)
def test_what_is_not_allowed_is_found(tmp_path, files, complaint):
    found = violations(make_package(tmp_path, **files))
    assert len(found) == 1
    assert complaint in found[0]


def test_a_file_that_imports_its_own_folder_is_a_cycle(tmp_path):
    package = make_package(tmp_path, data__a="from cl_keras.data import Source")
    (package / "data" / "__init__.py").write_text("from cl_keras.data.a import load")
    assert violations(package) == ["circle: cl_keras.data <- cl_keras.data.a <- cl_keras.data"] or (
        violations(package) == ["circle: cl_keras.data.a <- cl_keras.data <- cl_keras.data.a"]
    )
