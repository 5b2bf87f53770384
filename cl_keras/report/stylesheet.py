"""The style of the report, for light and dark mode, wide and narrow screens, and paper."""

CSS = """
:root {
  color-scheme: light dark;
  --paper: #fbfbfa; --card: #fff; --ink: #1d2329; --soft: #5b6470; --line: #e0e3e6;
  --accent: #1f6fb5; --best: #e3f0fb; --right: #2c8a4b; --wrong: #c2410c;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #14171a; --card: #1c2024; --ink: #e6e8ea; --soft: #a2abb5; --line: #343a41;
    --accent: #74b3ec; --best: #17344f; --right: #6cc88b; --wrong: #f0945f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 64rem;
  background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 0 0 .75rem; }
nav { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin-bottom: 1.5rem; }
a { color: var(--accent); }
section {
  margin: 0 0 1.25rem; padding: 1.25rem; background: var(--card);
  border: 1px solid var(--line); border-radius: .6rem;
}
p { margin: 0 0 .75rem; max-width: 46rem; }
p:last-child, ul:last-child { margin-bottom: 0; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
ul { margin: 0; padding-left: 1.2rem; max-width: 46rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .4rem .75rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child { text-align: left; }
thead th { color: var(--soft); font-weight: 600; font-size: .9rem; vertical-align: bottom;
  min-width: 4.5rem; max-width: 8rem; }
tbody th { font-weight: 500; min-width: 9rem; }
td.best { background: var(--best); font-weight: 700; }
td .error { display: block; line-height: 1.1; color: var(--soft); font-weight: 400;
  font-size: .78rem; }
.verdict { font-size: 1.1rem; max-width: none; padding-left: 1rem;
  border-left: .3rem solid var(--wrong); }
.verdict.good { border-color: var(--right); }
.labels { max-width: 46rem; margin-bottom: 1rem; }
.settings td { text-align: left; overflow-wrap: anywhere; white-space: pre-wrap; }
.settings th { text-align: left; color: var(--soft); width: 34%; vertical-align: top;
  overflow-wrap: anywhere; }
.curves { display: grid; gap: 1.25rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); }
figure { margin: 0; }
svg { display: block; width: 100%; height: auto; color: var(--soft); }
.curves figcaption { color: var(--ink); font-weight: 600; }
.curves figcaption span { color: var(--soft); font-weight: 400; }
img { display: block; max-width: 100%; height: auto; }
.map { display: flex; flex-wrap: wrap; gap: 1rem 1.5rem; align-items: center; }
.map figure { flex: 1 1 20rem; max-width: 42rem; }
.legend { list-style: none; padding: 0; margin: 0; columns: 1; font-size: .9rem; }
.legend span { display: inline-block; width: 1.5em; text-align: center; }
.near { display: grid; gap: .5rem; justify-content: start; }
.row { display: flex; gap: .5rem; }
.row figure { width: 4.75rem; flex: none; }
.row img { width: 100%; padding: 3px; border: 2px solid transparent; border-radius: .3rem; }
.row figure:first-child { padding-right: .5rem; border-right: 1px solid var(--line);
  width: 5.75rem; }
.row figcaption { font-size: .72rem; line-height: 1.3; text-align: center;
  overflow-wrap: anywhere; }
.right img { border-color: var(--right); }
.wrong img { border: 2px dashed var(--wrong); }
#map-box { position: relative; }
#map-box svg { touch-action: manipulation; cursor: crosshair; border: 1px solid var(--line);
  border-radius: .4rem; }
#map-box use { fill-opacity: .75; }
#map-box use.pinned { stroke: var(--ink); stroke-width: 2; fill-opacity: 1; }
.thumb { position: absolute; pointer-events: none; max-width: 9rem; padding: .35rem;
  background: var(--card); border: 1px solid var(--line); border-radius: .4rem;
  font-size: .75rem; line-height: 1.25; overflow-wrap: anywhere; box-shadow: 0 2px 8px #0003; }
.confusion td { text-align: center; padding: .25rem .4rem; }
.confusion td.own { font-weight: 700; }
.finding { border-left: .3rem solid var(--wrong); padding-left: .75rem; }
.fine { border-left: .3rem solid var(--right); padding-left: .75rem; }
.pairs { display: grid; gap: .75rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); }
.pair { display: flex; gap: .5rem; align-items: start; }
.pair figure { width: 7rem; }
.pair img { width: 100%; }
.pair figcaption { font-size: .72rem; overflow-wrap: anywhere; }
footer { color: var(--soft); font-size: .85rem; }
@media (max-width: 40rem) {
  body { padding: 1rem .6rem 3rem; }
  section { padding: .9rem; }
  th, td { padding: .35rem .5rem; }
  .wide { border-right: 2px solid var(--line); padding-bottom: .25rem; }
  .wide th:first-child { position: sticky; left: 0; background: var(--card); min-width: 6.5rem; }
}
@media print {
  :root {
    --paper: #fff; --card: #fff; --ink: #000; --soft: #444; --line: #ccc;
    --accent: #000; --best: #e8eef4; --right: #2c8a4b; --wrong: #c2410c;
  }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  section { border: 0; padding: 0; margin-bottom: 1.5rem; }
  .curves figure, .row, tr, .map, img { break-inside: avoid; }
  h2 { break-after: avoid; }
  .wide { overflow: visible; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
