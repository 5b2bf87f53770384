"""Functions that turn plain data into the parts of the page; every text is escaped here."""

import html
import numbers
from typing import Any

import numpy as np
from PIL import Image

from cl_keras.report import map as maps
from cl_keras.report import pictures, plots

_HEADINGS = {
    "name": "features",
    "knn": "k-NN",
    "perturbed_knn": "k-NN, perturbed",
    "retrieval_top1": "instance retrieval",
    "contrastive_accuracy": "contrastive accuracy",
    "learning_rate": "learning rate",
}
_GLYPHS = dict(zip("o^sDvPX<>", "●▲■◆▼✚✖◀▶", strict=True))
_PLAIN_GLYPH = "\ufe0e"  # asks for the text form, not the emoji


def escape(value: Any) -> str:
    """Any value as text that is safe between tags and inside quotes."""
    return html.escape(str(value))


def heading(key: str) -> str:
    """The heading of a key of the logs or the table: knn_200 → "k-NN (k 200)"."""
    if key in _HEADINGS:
        return _HEADINGS[key]
    base, _, k = key.rpartition("_")
    if base in ("knn", "perturbed_knn") and k.isdigit():
        return f"{_HEADINGS[base]} (k {k})"
    return key.replace("_", " ")


def verdict(found: dict) -> str:
    """The paragraph {"text": str, "good": bool}."""
    mark = "good" if found["good"] else "open"
    return f'<p class="verdict {mark}">{escape(found["text"])}</p>'


def labels(curves: dict) -> str:
    """The label curves as a picture with a table."""
    svg = plots.inline_svg(
        plots.label_figure(curves), "labels", "accuracy by number of labels, a line per encoder"
    )
    columns = sorted({n for curve in curves.values() for n in curve["labels"]})
    head = "".join(f'<th scope="col">{n:,}</th>' for n in columns)
    body = ""
    for name, curve in curves.items():
        points = zip(curve["labels"], curve["value"], curve["low"], curve["high"], strict=True)
        cells = {n: _share_cell(value, (low, high), False) for n, value, low, high in points}
        row = "".join(cells.get(n, "<td>–</td>") for n in columns)
        body += f'<tr><th scope="row">{escape(name)}</th>{row}</tr>'
    return (
        f'<figure class="labels">{svg}</figure><div class="wide"><table><thead><tr>'
        f'<th scope="col">labels</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        '<p class="soft">Accuracy in percent of a linear classifier on the frozen features of that '
        "many labeled images, with half of the 95 % interval.</p>"
    )


def table(rows: list[dict]) -> str:
    """The metrics of several encoders.

    A column whose numbers are all in 0..1 is shown in percent.
    """
    columns = list(dict.fromkeys(key for row in rows for key in row))
    head = "".join(f'<th scope="col">{escape(heading(c))}</th>' for c in columns)
    cells = {c: _cells([row.get(c) for row in rows]) for c in columns}
    body = []
    for i, row in enumerate(rows):
        first = f'<th scope="row">{escape(row.get(columns[0], ""))}</th>'
        body.append(f"<tr>{first}{''.join(cells[c][i] for c in columns[1:])}</tr>")
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
        '<p class="soft">In percent; higher is better. Bold: better than all others by more than '
        "the error.</p>"
    )


def _cells(values):
    """The cells of one column."""
    plain = [v for v in values if _is_number(v) and np.isfinite(v)]
    shares = bool(plain) and all(0 <= v <= 1 for v in plain)
    return [
        _share_cell(v["value"], v.get("interval"), v.get("best", False))
        if isinstance(v, dict)
        else f"<td>{_text(v, shares)}</td>"
        for v in values
    ]


def _share_cell(value, interval, best):
    """A share in percent, with half of its interval."""
    error = ""
    if interval is not None:
        error = f' <span class="error">±{50 * (interval[1] - interval[0]):.1f}</span>'
    mark = ' class="best"' if best else ""
    return f"<td{mark}>{100 * value:.1f}{error}</td>"


def _text(value, share):
    if value is None or (_is_number(value) and not np.isfinite(value)):
        return "–"
    if not _is_number(value):
        return escape(value)
    if share:
        return f"{100 * value:.1f}"
    return str(value) if isinstance(value, numbers.Integral) else f"{value:.4g}"


def _is_number(value):
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def notes(texts: list[str]) -> str:
    """Remarks about the numbers."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def curves(history: dict, baselines: dict | None = None) -> str:
    """A curve of each metric, with its last value; "" if there is none."""
    figures, last = [], plots.series(history)
    for i, (key, figure) in enumerate(plots.curve_figures(history, baselines).items()):
        name = heading(key)
        shown = key in last and key != "learning_rate"  # which ends near 0
        value = f" <span>{last[key][1][-1]:.3g} at the end</span>" if shown else ""
        svg = plots.inline_svg(figure, f"curve{i}", f"{name} by epoch")
        figures.append(f"<figure><figcaption>{escape(name)}{value}</figcaption>{svg}</figure>")
    return f'<div class="curves">{"".join(figures)}</div>' if figures else ""


def views(images: np.ndarray, originals: np.ndarray | None = None) -> str:
    """A grid of views, with a row for each image that begins with the original, if it is given."""
    images = pictures.to_uint8(images)
    text = "Each row holds random views of one image."
    if originals is not None:
        text = "Each row holds an image and random views of it, as the encoder sees them."
        originals = _same_size(pictures.to_uint8(originals), images)
        images = np.concatenate([originals[:, None], images], axis=1)
    grid = pictures.image_grid(images, background=(128, 128, 128))
    return f'<p class="soft">{text}</p>{image(grid, "views of images, one row per image")}'


def _same_size(originals, images):
    """The originals `[n, H, W, c]` resized to the size of the views `[n, v, h, w, c]`."""
    if originals.ndim != 4 or len(originals) != len(images):
        raise ValueError(
            f"Expected one original [h, w, c] for each of {len(images)} rows of views; received "
            f"shape {originals.shape}."
        )
    height, width = images.shape[2:4]
    if originals.shape[1:3] == (height, width):
        return originals
    return np.stack([pictures.resize(o, height, width) for o in originals])


def image(picture: Image.Image, description: str) -> str:
    """The `<img>` of a picture that is part of the page."""
    width, height = picture.size
    return (
        f'<img src="{pictures.data_uri(picture)}" width="{width}" height="{height}" '
        f'alt="{escape(description)}">'
    )


def neighbors(found: dict) -> str:
    """Query images, each with its nearest neighbors.

    Args:
        found: see `report.write`.
    """
    queries = pictures.to_uint8(found["queries"])
    near = pictures.to_uint8(found["neighbors"])
    if queries.ndim != 4 or near.ndim != 5 or len(near) != len(queries):
        raise ValueError(
            "Expected queries [q, h, w, c] and neighbors [q, k, h, w, c]; received "
            f"{queries.shape} and {near.shape}."
        )
    names, own = found.get("class_names"), found.get("query_labels")
    labels, similarities = found.get("neighbor_labels"), found.get("similarities")
    own_files, files = found.get("query_names"), found.get("neighbor_names")
    rows = []
    for q, query in enumerate(queries):
        name = "" if own is None else plots.class_name(own[q], names)
        row = [_neighbor(query, [name, "" if own_files is None else own_files[q]], "")]
        for n, neighbor in enumerate(near[q]):
            mark, words = "", []
            if labels is not None:
                words.append(plots.class_name(labels[q][n], names))
            if labels is not None and own is not None:
                right = int(labels[q][n]) == int(own[q])
                mark, words[0] = ("right", f"✓ {words[0]}") if right else ("wrong", f"✗ {words[0]}")
            if similarities is not None:
                words.append(f"{float(similarities[q][n]):.2f}")
            if files is not None:
                words.append(files[q][n])
            row.append(_neighbor(neighbor, words, mark))
        rows.append(f'<div class="row">{"".join(row)}</div>')
    text = "On the left the query, then its nearest images"
    text += ", with their cosines." if similarities is not None else "."
    if labels is not None and own is not None:
        text += " ✓ same class, ✗ another class (the encoder was trained without classes)."
    grid = f'<div class="wide"><div class="near">{"".join(rows)}</div></div>'
    return f'<p class="soft">{text}</p>{grid}'


def _neighbor(pixels, words, mark):
    """An image with its caption, one line per word."""
    lines = "<br>".join(escape(w) for w in words if w)
    caption = f"<figcaption>{lines}</figcaption>" if lines else ""
    alt = " ".join(w for w in words if w) or "image"
    return f'<figure class="{mark}">{image(pictures.tile(pixels), alt)}{caption}</figure>'


def pairs(found: dict) -> str:
    """Near-duplicates side by side, with their names and correlations."""
    rows = ""
    for i, correlation in enumerate(found["correlations"]):
        both = "".join(
            _neighbor(images[i], [names[i]], "")
            for images, names in zip(found["images"], found["names"], strict=True)
        )
        rows += f'<div class="pair"><span class="soft">{correlation:.4f}</span>{both}</div>'
    return f'<div class="pairs">{rows}</div>'


def embedding_map(embeddings: dict) -> str:
    """The map of the embeddings, with images if they are given; see `report.write`."""
    labels, names = embeddings.get("labels"), embeddings.get("class_names")
    if embeddings.get("images") is not None:
        drawn = maps.interactive(embeddings)
    else:
        figure = plots.map_figure(embeddings["vectors"], labels, names, legend=False)
        drawn = plots.inline_svg(figure, "map", "map of the embeddings")
    legend = ""
    if labels is not None:
        entries = "".join(
            f'<li><span style="color:{color}">{_GLYPHS[marker]}{_PLAIN_GLYPH}</span>'
            f"{escape(name)}</li>"
            for name, _, color, marker in plots.class_looks(labels, names)
        )
        legend = f'<ul class="legend">{entries}</ul>'
    text = (
        f"The first two principal components of {len(embeddings['vectors']):,} embeddings, "
        "L2-normalized. The projection is linear: classes that overlap here may be separate in "
        "other directions, but clusters are real."
    )
    if embeddings.get("images") is not None:
        text += " Hover over or tap a point to see its image."
    return f'<p class="soft">{text}</p><div class="map"><figure>{drawn}</figure>{legend}</div>'


def configuration(config: dict) -> str:
    """A table of settings; nested ones have dotted names."""
    rows = "".join(
        f'<tr><th scope="row">{escape(key)}</th><td>{escape(value)}</td></tr>'
        for key, value in _flat(config)
    )
    return f'<table class="settings"><tbody>{rows}</tbody></table>'


def _flat(config, prefix=""):
    for key, value in config.items():
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], dict):
            value = {str(i): one for i, one in enumerate(value)}
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
