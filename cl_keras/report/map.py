"""The map of embeddings, with points that show their images on hover and click."""

import base64
import hashlib
import html
import io
import json

import numpy as np
from PIL import Image

from cl_keras.report import pictures, plots

SIDE = 48
"""Side of a thumbnail in pixels."""

WIDTH, HEIGHT, MARGIN = 640, 460, 14

SHAPES = {
    "o": '<circle r="4"/>',
    "^": '<path d="M0-5 5 4H-5z"/>',
    "s": '<path d="M-4-4H4V4H-4z"/>',
    "D": '<path d="M0-5 5 0 0 5-5 0z"/>',
    "v": '<path d="M0 5 5-4H-5z"/>',
    "P": '<path d="M-2-5H2V-2H5V2H2V5H-2V2H-5V-2H-2z"/>',
    "X": '<path d="M-5-3-3-5 0-2 3-5 5-3 2 0 5 3 3 5 0 2-3 5-5 3-2 0z"/>',
    "<": '<path d="M-5 0 4-5V5z"/>',
    ">": '<path d="M5 0-4-5V5z"/>',
}

SCRIPT = """
(function () {
  var box = document.getElementById("map-box");
  if (!box) return;
  var svg = box.querySelector("svg"), card = box.querySelector(".thumb");
  var facts = JSON.parse(document.getElementById("map-facts").textContent);
  var points = svg.querySelectorAll("use"), pinned = -1;
  function show(i) {
    if (i < 0) { card.hidden = true; return; }
    var f = facts.points[i], picture = card.querySelector(".picture");
    var column = i % facts.columns, row = Math.floor(i / facts.columns);
    picture.style.backgroundPosition = -column * facts.side + "px " + -row * facts.side + "px";
    card.querySelector(".words").textContent = f[2];
    card.style.left = Math.min(82, 100 * f[0] / facts.width) + "%";
    card.style.top = Math.min(80, 100 * f[1] / facts.height) + "%";
    card.hidden = false;
  }
  function nearest(event) {
    var r = svg.getBoundingClientRect(), best = -1, least = 400;
    var x = (event.clientX - r.left) * facts.width / r.width;
    var y = (event.clientY - r.top) * facts.height / r.height;
    facts.points.forEach(function (f, i) {
      var d = (f[0] - x) * (f[0] - x) + (f[1] - y) * (f[1] - y);
      if (d < least) { least = d; best = i; }
    });
    return best;
  }
  svg.addEventListener("pointermove", function (e) { if (pinned < 0) show(nearest(e)); });
  svg.addEventListener("pointerleave", function () { if (pinned < 0) show(-1); });
  svg.addEventListener("click", function (e) {
    var i = nearest(e);
    if (pinned >= 0) points[pinned].classList.remove("pinned");
    pinned = i === pinned ? -1 : i;
    if (pinned >= 0) points[pinned].classList.add("pinned");
    show(pinned);
  });
})();
"""
"""The only script of a report; the page allows no other."""


def script_hash() -> str:
    """The hash of `SCRIPT` for the content security policy of the page."""
    digest = hashlib.sha256(SCRIPT.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def interactive(embeddings: dict) -> str:
    """The map as HTML.

    Args:
        embeddings: {"vectors": `[n, d]`, "images": `[n, h, w, c]`} and, if known, "labels" `[n]`,
            "class_names" and "names" (n file names).
    """
    vectors, images = embeddings["vectors"], embeddings["images"]
    labels, names = embeddings.get("labels"), embeddings.get("names")
    points, shares = plots.principal_plane(vectors)
    spots = _spots(points)
    marks = _marks(labels, embeddings.get("class_names"), len(vectors))
    uses = "".join(
        f'<use href="#m{shape}" x="{x}" y="{y}" fill="{color}"/>'
        for (x, y), (shape, color, _) in zip(spots, marks, strict=True)
    )
    used = sorted({shape for shape, _, _ in marks})
    symbols = "".join(f'<g id="m{s}">{SHAPES[list(SHAPES)[s]]}</g>' for s in used)
    words = [
        " · ".join(filter(None, [str(names[i]) if names is not None else "", mark[2]])) or f"{i}"
        for i, mark in enumerate(marks)
    ]
    columns = int(np.ceil(np.sqrt(len(vectors))))
    facts = {
        "width": WIDTH,
        "height": HEIGHT,
        "side": SIDE,
        "columns": columns,
        "points": [[x, y, word] for (x, y), word in zip(spots, words, strict=True)],
    }
    plain = json.dumps(facts, ensure_ascii=True).replace("<", "\\u003c")
    label = html.escape(
        f"map of {len(vectors)} embeddings; the axes show {shares[0]:.0%} and {shares[1]:.0%} of "
        "the variance"
    )
    sheet = _sheet(images, columns)
    return (
        f'<div id="map-box"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">'
        f"<defs>{symbols}</defs>{uses}</svg>"
        f'<div class="thumb" hidden><div class="picture" style="width:{SIDE}px;height:{SIDE}px;'
        f'background-image:url({sheet})"></div><div class="words"></div></div></div>'
        f'<script type="application/json" id="map-facts">{plain}</script>'
    )


def _spots(points):
    """Coordinates in the picture, rounded to one decimal, y downwards."""
    low, high = points.min(axis=0), points.max(axis=0)
    scale = (np.array([WIDTH, HEIGHT]) - 2 * MARGIN) / np.maximum(high - low, 1e-9)
    scaled = MARGIN + (points - low) * scale
    scaled[:, 1] = HEIGHT - scaled[:, 1]
    return [(round(float(x), 1), round(float(y), 1)) for x, y in scaled]


def _marks(labels, class_names, count):
    """(shape, color, class name) of each point."""
    if labels is None:
        return [(0, plots.COLORS[0], "")] * count
    shapes = list(SHAPES)
    looks = {
        int(one): (shapes.index(marker), color)
        for _, classes, color, marker in plots.class_looks(labels, class_names)
        for one in classes
    }
    return [(*looks[int(one)], plots.class_name(one, class_names)) for one in labels]


def _sheet(images, columns):
    """All thumbnails in one picture, as a data URI."""
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (columns * SIDE, rows * SIDE))
    for i, image in enumerate(pictures.to_uint8(images)):
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        resized = picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
        sheet.paste(resized, (i % columns * SIDE, i // columns * SIDE))
    buffer = io.BytesIO()
    sheet.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
