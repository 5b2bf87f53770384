"""Parts of the page about classes and about the health of the run."""

import numpy as np

from cl_keras.report import plots
from cl_keras.report.sections import escape

MAX_CLASSES = 25
"""Maximum number of classes whose confusion is shown as a full matrix."""

MAX_CONFUSED = 20  # pairs that are shown if there are more classes

VITALS = {
    "loss": "loss",
    "effective_rank": "effective rank of the embeddings",
    "uniformity": "uniformity",
    "alignment": "alignment",
    "positive_cosine": "cosine of positives",
    "negative_cosine": "cosine of negatives",
    "prototypes_used": "prototypes in use",
    "code_entropy": "entropy of the codes",
    "gradient_norm": "norm of the gradient",
    "movement": "change of the weights since the start",
}
"""Vitals that are plotted, with their titles."""


def health(found: dict) -> str:
    """Findings as sentences, and a curve of each vital.

    Args:
        found: {"findings": [{"name", "sentence"}], "history": [{"step", vital: value}]}.
    """
    findings = "".join(
        f'<p class="finding">{escape(one["sentence"])}</p>' for one in found["findings"]
    )
    if not findings:
        checks = len(found["history"])
        findings = f'<p class="fine">No problems found (checks: {checks}).</p>'
    drawn, steps = [], [one["step"] for one in found["history"]]
    for i, (name, title) in enumerate(VITALS.items()):
        values = [one.get(name) for one in found["history"]]
        if sum(value is not None for value in values) < 2:
            continue
        lines = {}
        if name == "loss" and found["history"][-1].get("ceiling") is not None:
            last = found["history"][-1]
            lines = {"floor": last["floor"], "ceiling (log K)": last["ceiling"]}
        history = {"epoch": steps, name: values}
        figure = plots.curve_figures(history, {name: lines})[name]
        figure.axes[0].set_xlabel("step")
        svg = plots.inline_svg(figure, f"vital{i}", f"{title} by step")
        drawn.append(f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>")
    return findings + (f'<div class="curves">{"".join(drawn)}</div>' if drawn else "")


def classes(found: dict) -> str:
    """The accuracy of each class, and the classes it is mistaken for.

    Args:
        found: {"confusion": `[C, C]` counts, rows are the true classes, "class_names": C names}.
    """
    counts, names = np.asarray(found["confusion"]), list(map(str, found["class_names"]))
    totals = counts.sum(axis=1)
    text = (
        '<p class="soft">By k-NN (k 20) on the learned features. Rows are the true classes, '
        "columns the predicted ones, in percent.</p>"
    )
    if len(names) <= MAX_CLASSES:
        return text + _matrix(counts, totals, names)
    rows = "".join(
        f'<tr><th scope="row">{escape(names[c])}</th><td>{100 * counts[c, c] / totals[c]:.1f}</td>'
        f"<td>{totals[c]}</td></tr>"
        for c in np.argsort(np.diag(counts) / np.maximum(totals, 1))
        if totals[c]
    )
    wrong = counts * (1 - np.eye(len(names), dtype=int))
    worst = [np.unravel_index(i, wrong.shape) for i in np.argsort(-wrong, axis=None)[:MAX_CONFUSED]]
    pairs = "".join(
        f"<li>{escape(names[a])} mistaken for {escape(names[b])}: {wrong[a, b]} of {totals[a]}</li>"
        for a, b in worst
        if wrong[a, b]
    )
    head = (
        '<tr><th scope="col">class</th><th scope="col">right</th><th scope="col">images</th></tr>'
    )
    return (
        f'{text}<ul>{pairs}</ul><div class="wide"><table><thead>{head}</thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _matrix(counts, totals, names):
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    body = ""
    for c, name in enumerate(names):
        cells = ""
        for d in range(len(names)):
            share = counts[c, d] / max(totals[c], 1)
            tone = "--right" if c == d else "--wrong"
            color = f"color-mix(in srgb, var({tone}) {round(60 * share)}%, transparent)"
            shown = f"{100 * share:.0f}" if counts[c, d] else "·"
            own = ' class="own"' if c == d else ""
            cells += f'<td{own} style="background:{color}">{shown}</td>'
        body += f'<tr><th scope="row">{escape(name)}</th>{cells}<td>{totals[c]}</td></tr>'
    return (
        '<div class="wide"><table class="confusion"><thead><tr><th scope="col">class</th>'
        f'{head}<th scope="col">images</th></tr></thead><tbody>{body}</tbody></table></div>'
    )
