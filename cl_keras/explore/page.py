"""The page of the explorer, with a map of all images and a list of some of them."""

import html

CSS = """
:root { color-scheme: light dark; --paper: #fbfbfa; --card: #fff; --ink: #1d2329; --soft: #5b6470;
  --line: #dde1e5; --accent: #1f6fb5; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171a; --card: #1c2024; --ink: #e6e8ea;
  --soft: #a2abb5; --line: #343a41; --accent: #74b3ec; } }
* { box-sizing: border-box; }
body { margin: 0; padding: .75rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.2rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
.bar { display: flex; flex-wrap: wrap; gap: .5rem; margin-bottom: .75rem; align-items: center; }
button, select, .file { font: inherit; font-size: .9rem; padding: .4rem .7rem; color: var(--ink);
  background: var(--card); border: 1px solid var(--line); border-radius: .4rem; cursor: pointer; }
button:focus-visible, select:focus-visible, .file:focus-within { outline: 2px solid var(--accent); }
.file input { position: absolute; opacity: 0; width: 1px; height: 1px; }
.both { display: grid; gap: .75rem; grid-template-columns: minmax(0, 3fr) minmax(0, 2fr); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
  padding: .75rem; min-width: 0; }
canvas { display: block; width: 100%; height: 70vh; touch-action: none; cursor: crosshair; }
#status { color: var(--soft); font-size: .9rem; min-height: 1.4em; overflow-wrap: anywhere; }
#list { display: grid; gap: .5rem; max-height: 66vh; overflow-y: auto;
  grid-template-columns: repeat(auto-fill, minmax(5.5rem, 1fr)); }
#list figure { margin: 0; font-size: .72rem; line-height: 1.25; overflow-wrap: anywhere; }
#list img { display: block; width: 100%; border: 3px solid transparent; border-radius: .3rem;
  cursor: pointer; }
#list .chosen img { border-color: var(--accent); }
@media (max-width: 48rem) { .both { grid-template-columns: minmax(0, 1fr); }
  canvas { height: 45vh; } #list { max-height: none; } }
"""

SCRIPT = """
(function () {
  var token = new URLSearchParams(location.search).get("token"), data = null, shown = [];
  var chosen = new Set(), filter = "all", current = -1, view = { x: 0, y: 0, zoom: 1 };
  var colors = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300",
    "#b9ac70", "#717581", "#92dadd"];
  var $ = function (id) { return document.getElementById(id); };
  var canvas = $("map"), pen = canvas.getContext("2d");

  function address(path, query) {
    return path + "?" + new URLSearchParams(Object.assign({ token: token }, query || {}));
  }
  function ask(path, query, options) {
    $("status").textContent = "…";
    return fetch(address(path, query), options).then(function (answer) {
      if (!answer.ok) return answer.text().then(function (text) { throw new Error(text); });
      return answer.json();
    }).catch(function (error) { $("status").textContent = error.message; throw error; });
  }
  function visible(i) { return filter === "all" || data.label[i] === Number(filter); }
  function point(i) {
    var w = canvas.clientWidth - 20, h = canvas.clientHeight - 20;
    return [10 + (data.x[i] - .5 - view.x) * w * view.zoom + w / 2,
            10 + (.5 - data.y[i] + view.y) * h * view.zoom + h / 2];
  }
  function draw() {
    if (!data) return;
    var ratio = window.devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * ratio; canvas.height = canvas.clientHeight * ratio;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    var size = Math.max(1.5, Math.min(4, 220 / Math.sqrt(data.x.length)));
    for (var i = 0; i < data.x.length; i++) {
      if (!visible(i)) continue;
      var p = point(i), label = data.label[i];
      pen.fillStyle = colors[label < 0 ? 0 : label % colors.length];
      pen.globalAlpha = .7;
      pen.fillRect(p[0] - size / 2, p[1] - size / 2, size, size);
    }
    pen.globalAlpha = 1; pen.lineWidth = 2;
    pen.strokeStyle = getComputedStyle(document.body).color;
    shown.forEach(function (row) { ring(row[0], 5); });
    if (current >= 0) ring(current, 8);
  }
  function ring(i, radius) {
    var p = point(i); pen.beginPath(); pen.arc(p[0], p[1], radius, 0, 7); pen.stroke();
  }
  function words(i) {
    var label = data.label[i];
    var name = label < 0 ? "" : (data.class_names ? data.class_names[label] : label) + " · ";
    return name + data.name[i];
  }
  function list(rows, text) {
    shown = rows; $("status").textContent = text; $("list").textContent = "";
    rows.forEach(function (row) {
      var figure = document.createElement("figure"), image = document.createElement("img");
      var caption = document.createElement("figcaption");
      image.src = address("picture", { row: row[0] }); image.loading = "lazy";
      image.alt = words(row[0]);
      caption.textContent = (row[1] ? row[1].toFixed(3) + " " : "") + words(row[0]);
      if (chosen.has(row[0])) figure.className = "chosen";
      image.onclick = function () {
        if (!chosen.delete(row[0])) chosen.add(row[0]);
        figure.className = chosen.has(row[0]) ? "chosen" : ""; count();
      };
      image.ondblclick = function () { near(row[0]); };
      figure.append(image, caption); $("list").append(figure);
    });
    draw();
  }
  function count() { $("export").textContent = "Export " + chosen.size + " chosen"; }
  function near(i) {
    current = i; var begin = performance.now();
    ask("near", { row: i }).then(function (rows) {
      list(rows, "Nearest to " + words(i) + " (" + Math.round(performance.now() - begin) + " ms)");
    });
  }
  function at(event) {
    var box = canvas.getBoundingClientRect(), best = -1, least = Infinity;
    var x = event.clientX - box.left, y = event.clientY - box.top;
    for (var i = 0; i < data.x.length; i++) {
      if (!visible(i)) continue;
      var p = point(i), d = (p[0] - x) * (p[0] - x) + (p[1] - y) * (p[1] - y);
      if (d < least) { least = d; best = i; }
    }
    return best;
  }
  canvas.addEventListener("click", function (e) {
    var i = data && !moved ? at(e) : -1;
    if (i >= 0) near(i);
  });
  canvas.addEventListener("wheel", function (e) {
    e.preventDefault();
    view.zoom = Math.max(1, Math.min(40, view.zoom * (e.deltaY < 0 ? 1.2 : 1 / 1.2)));
    if (view.zoom === 1) view.x = view.y = 0;
    draw();
  }, { passive: false });
  var drag = null, moved = false;
  canvas.addEventListener("pointerdown", function (e) {
    drag = [e.clientX, e.clientY]; moved = false;
  });
  canvas.addEventListener("pointermove", function (e) {
    if (!drag || view.zoom === 1) return;
    view.x -= (e.clientX - drag[0]) / canvas.clientWidth / view.zoom;
    view.y += (e.clientY - drag[1]) / canvas.clientHeight / view.zoom;
    moved = true;
    drag = [e.clientX, e.clientY]; draw();
  });
  window.addEventListener("pointerup", function () { drag = null; });
  $("outliers").onclick = function () { ask("outliers").then(function (rows) {
    list(rows, "Farthest from their neighbors, with the distance"); }); };
  $("pairs").onclick = function () { ask("pairs").then(function (rows) {
    var flat = []; rows.forEach(function (p) { flat.push([p[0], p[2]], [p[1], p[2]]); });
    list(flat, rows.length + " pairs of near-duplicates"); }); };
  $("select").onclick = function () { ask("select", { n: 100 }).then(function (rows) {
    rows.forEach(function (row) { chosen.add(row[0]); }); count();
    list(rows, "To label next, chosen such that every image is near one of them"); }); };
  $("upload").onchange = function (e) {
    var file = e.target.files[0]; if (!file) return; current = -1;
    ask("near_file", {}, { method: "POST", body: file }).then(function (rows) {
      list(rows, "Nearest to " + file.name); });
  };
  $("filter").onchange = function (e) { filter = e.target.value; draw(); };
  $("export").onclick = function () {
    var quoted = Array.from(chosen).map(function (i) {
      return '"' + data.name[i].replace(/"/g, '""') + '",'; });
    var blob = new Blob(["file,label\\n" + quoted.join("\\n") + "\\n"], { type: "text/csv" });
    var link = document.createElement("a"); link.href = URL.createObjectURL(blob);
    link.download = "chosen.csv"; link.click();
  };
  window.addEventListener("resize", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  ask("points").then(function (found) {
    data = found; $("status").textContent = "Click a point to see its neighbors.";
    Array.from(new Set(data.label)).sort(function (a, b) { return a - b; }).forEach(function (l) {
      if (l < 0) return;
      var option = document.createElement("option"); option.value = l;
      option.textContent = data.class_names ? data.class_names[l] : l; $("filter").append(option);
    });
    draw();
  });
})();
"""


def page(title: str, count: int, nonce: str) -> str:
    """The page as HTML.

    Args:
        title: heading of the page.
        count: number of images.
        nonce: nonce of the script in the content security policy.
    """
    title = html.escape(title)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{title}</title><style>{CSS}</style></head>
<body>
<h1>{title}: {count:,} images</h1>
<div class="bar">
<label>Class <select id="filter"><option value="all">all</option></select></label>
<label class="file">Search by image<input id="upload" type="file" accept="image/*"></label>
<button id="outliers">Outliers</button>
<button id="pairs">Near-duplicates</button>
<button id="select">What to label next</button>
<button id="export">Export 0 chosen</button>
</div>
<div class="both">
<div class="card"><canvas id="map" role="img" aria-label="map of all images"></canvas></div>
<div class="card"><div id="status" role="status"></div><div id="list"></div></div>
</div>
<script nonce="{nonce}">{SCRIPT}</script>
</body></html>
"""
