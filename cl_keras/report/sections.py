"""The parts of the page, each from plain data to HTML; every text is escaped here."""

import html
import numbers

import numpy as np

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


def escape(value):
    """Any value as text that is safe between tags and inside quotes."""
    return html.escape(str(value))


def heading(key):
    """A key of the logs or the table in words: knn_200 → "k-NN (k 200)"."""
    if key in _HEADINGS:
        return _HEADINGS[key]
    base, _, k = key.rpartition("_")
    if base in ("knn", "perturbed_knn") and k.isdigit():
        return f"{_HEADINGS[base]} (k {k})"
    return key.replace("_", " ")


def verdict(found):
    """The paragraph {"text": str, "good": bool}."""
    mark = "good" if found["good"] else "open"
    return f'<p class="verdict {mark}">{escape(found["text"])}</p>'


def labels(curves):
    """The label curves as a picture, and as a table beneath it."""
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
        '<p class="soft">A linear classifier on frozen features of so many labeled images; shares '
        "in percent with half of the 95 % interval.</p>"
    )


def table(rows):
    """The metrics of several encoders.

    A column whose numbers all lie in 0..1 holds shares: it is shown in percent. Other numbers are
    shown as they are.
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
        '<p class="soft">Shares in percent, more is better. Bold: above every other beyond the '
        "error.</p>"
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


def notes(texts):
    """Remarks that belong to the numbers."""
    return f"<ul>{''.join(f'<li>{escape(text)}</li>' for text in texts)}</ul>"


def curves(history, baselines=None):
    """A curve for each metric, with its last value; "" where there is nothing to draw."""
    figures, last = [], plots.series(history)
    for i, (key, figure) in enumerate(plots.curve_figures(history, baselines).items()):
        name = heading(key)
        shown = key in last and key != "learning_rate"  # which ends near nothing
        value = f" <span>{last[key][1][-1]:.3g} at the end</span>" if shown else ""
        svg = plots.inline_svg(figure, f"curve{i}", f"{name} by epoch")
        figures.append(f"<figure><figcaption>{escape(name)}{value}</figcaption>{svg}</figure>")
    return f'<div class="curves">{"".join(figures)}</div>' if figures else ""


def views(images, originals=None):
    """A grid of views, a row for each image; the image itself first, where it is given."""
    images = pictures.to_uint8(images)
    text = "Each row holds random views of one image."
    if originals is not None:
        text = "Each row holds an image and random views of it, as the encoder is shown them."
        originals = _same_size(pictures.to_uint8(originals), images)
        images = np.concatenate([originals[:, None], images], axis=1)
    grid = pictures.image_grid(images, background=(128, 128, 128))
    return f'<p class="soft">{text}</p>{image(grid, "views of images, a row for each")}'


def _same_size(originals, images):
    """The originals [n, H, W, C] at the size of the views [n, v, h, w, C]."""
    if originals.ndim != 4 or len(originals) != len(images):
        raise ValueError(
            f"Expected one original [H, W, C] for each of {len(images)} rows of views; received "
            f"shape {originals.shape}."
        )
    height, width = images.shape[2:4]
    if originals.shape[1:3] == (height, width):
        return originals
    return np.stack([pictures.resize(o, height, width) for o in originals])


def image(picture, description):
    """A `PIL.Image.Image` inside the page."""
    width, height = picture.size
    return (
        f'<img src="{pictures.data_uri(picture)}" width="{width}" height="{height}" '
        f'alt="{escape(description)}">'
    )


def neighbors(found):
    """Query images, each with its nearest neighbors.

    Args:
        found: {"queries": [q, H, W, C], "neighbors": [q, k, H, W, C], and where known
            "query_labels": [q], "neighbor_labels": [q, k], "similarities": [q, k],
            "class_names": list}.
    """
    queries = pictures.to_uint8(found["queries"])
    near = pictures.to_uint8(found["neighbors"])
    if queries.ndim != 4 or near.ndim != 5 or len(near) != len(queries):
        raise ValueError(
            "Expected queries [q, H, W, C] and neighbors [q, k, H, W, C]; received "
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
    text = "Left the query, then its nearest images"
    text += ", with the cosine." if similarities is not None else "."
    if labels is not None and own is not None:
        text += " ✓ the same class, ✗ another (the encoder has seen no class)."
    grid = f'<div class="wide"><div class="near">{"".join(rows)}</div></div>'
    return f'<p class="soft">{text}</p>{grid}'


def _neighbor(pixels, words, mark):
    """One image with its caption, a line for each word."""
    lines = "<br>".join(escape(w) for w in words if w)
    caption = f"<figcaption>{lines}</figcaption>" if lines else ""
    alt = " ".join(w for w in words if w) or "image"
    return f'<figure class="{mark}">{image(pictures.tile(pixels), alt)}{caption}</figure>'


def pairs(found):
    """Near-duplicates side by side, with their names and how alike they are."""
    rows = ""
    for i, correlation in enumerate(found["correlations"]):
        both = "".join(
            _neighbor(images[i], [names[i]], "")
            for images, names in zip(found["images"], found["names"], strict=True)
        )
        rows += f'<div class="pair"><span class="soft">{correlation:.4f}</span>{both}</div>'
    return f'<div class="pairs">{rows}</div>'


def embedding_map(embeddings):
    """The map of {"vectors": `[n, d]`, and where known "labels", "class_names", "images"}."""
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
        "L2-normalized. A linear view: classes that overlap here may be apart in the directions "
        "that it leaves out, and no cluster is made by the drawing."
    )
    if embeddings.get("images") is not None:
        text += " Hover over a point, or tap it, to see its image."
    return f'<p class="soft">{text}</p><div class="map"><figure>{drawn}</figure>{legend}</div>'


def configuration(config):
    """Settings, nested ones by dotted names."""
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
