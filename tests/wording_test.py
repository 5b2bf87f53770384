"""American spelling and consistent terms in all code and texts of the project."""

import re
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]

WRONG = {
    r"colour": "color",
    r"\bgrey": "gray",
    r"licence": "license",
    r"behaviour": "behavior",
    r"neighbour": "neighbor",
    r"favour|honour": "favor, honor",
    r"(un)?labell(ed|ing)": "labeled, labeling",
    r"modell(ed|ing)": "modeled, modeling",
    r"catalogue": "catalog",
    r"\bcentre": "center",
    r"analys(e|ed|ing)\b": "analyze",
    r"(norm|serial|initial|optim|regular|standard|synchron|general|visual|quant|minim|maxim|summar"
    r"|recogn|organ)is(e|ed|er|ers|es|ing|ation|ations)\b": "…ize",
    r"disturb": "perturb",
    r"taken[ _]up|takes? up (a|the|its) run": "resume",
    r"cannot be had": "cannot be read, cannot be downloaded",
    r"is no (valid|plain|address)": "is not a valid …, a plain …, an address",
    r"such a one|of one's own|(is|are) none of (them|these)": "a plain noun",
    r"\b(is|are) to be (read|written|made|measured|served|retried|refused)": "must be …",
    r"\bfor ever\b|made anew|once a step": "forever, made again, per step",
    r"\b(images|bytes|files|views|steps|ms|µs) an? (second|step|pixel|view|execution)\b": "per …",
    r"state is drawn from|as it has it|so many images\b": "uses no state, as in, that many",
}
"""What must not occur, to what to write instead."""

EXCEPT = ("CHANGELOG.md",)
"""Files that list what was renamed."""


def mistakes(text: str) -> list[str]:
    """One line for each wrong word: the line of the text, the word and the right one."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        for wrong, right in WRONG.items():
            match = re.search(wrong, line, re.IGNORECASE)
            if match:
                found.append(f"{number}: {match[0]!r}, in this project {right!r}")
    return found


def texts():
    """All source files, pages and cards; the pages of the zoo are generated from its cards."""
    for folder in ("cl_keras", "tests", "tools", "docs", "examples"):
        for suffix in ("py", "md", "ipynb", "sh"):
            yield from (TOP / folder).rglob(f"*.{suffix}")
    yield from TOP.glob("*.md")
    yield from TOP.glob("zoo/*/card.json")
    yield from (TOP / name for name in ("setup.py", "pyproject.toml", "Makefile", "CITATION.cff"))


def test_spelling_is_american_and_terms_are_consistent():
    files = [path for path in texts() if path != Path(__file__) and path.name not in EXCEPT]
    assert len(files) > 300
    found = [
        f"{path.relative_to(TOP)}:{mistake}"
        for path in files
        for mistake in mistakes(path.read_text(encoding="utf-8"))
    ]
    assert found == []


@pytest.mark.parametrize(
    "text, count",
    [
        ("A Colour and a\ngrey licence.", 3),
        ("normalised, Normalisation, optimiser", 1),
        ("the run is taken up", 1),
        ("normalized gray color, promised, precise, organism, CancelledError", 0),
    ],
)
def test_mistakes_are_found(text, count):
    assert len(mistakes(text)) == count
