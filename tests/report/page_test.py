"""The page shows its content safely, and loads nothing from elsewhere."""

import base64
import hashlib
import html.parser
import json
import re

import numpy as np
import pytest

from cl_keras import report

EVIL = "<script>alert('x')</script>\"&"
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(html.parser.HTMLParser):
    """Parses a page; records its tags, ids, text, and whether all elements are closed in order."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.ids, self.links, self.text, self.open = [], [], [], "", []
        self.styles = ""
        self.source = path.read_text("utf-8")
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        for key, value in attrs:
            if key == "id":
                self.ids.append(value)
            if key in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
                self.links.append(value)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] == "style":
            self.styles += data
        else:
            self.text += data

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


def _everything(text="class"):
    """All arguments of `write`, small; `text` is in every place that users can name."""
    rng = np.random.default_rng(0)

    def images(*shape):
        return rng.integers(0, 256, shape, np.uint8)

    names = [f"{text} zero", f"{text} one"]
    return {
        "title": f"{text} title",
        "config": {f"{text} key": f"{text} value", "nested": {"deep": [{"er": 17}]}},
        "history": {"epoch": [1, 2], "loss": [2.5, 1.25], f"{text} own": [1, 2]},
        "table": [
            {"name": f"{text} raw", "knn": 0.8041, "retrieval_top1": 0.149},
            {"name": "SimCLR", "knn": 0.75, "retrieval_top1": 0.695},
        ],
        "views": images(3, 2, 8, 8, 1),
        "originals": images(3, 10, 10, 1),
        "neighbors": {
            "queries": images(2, 8, 8, 1),
            "neighbors": images(2, 3, 8, 8, 1),
            "query_labels": [0, 1],
            "neighbor_labels": [[0, 0, 1], [1, 1, 1]],
            "similarities": [[0.91, 0.82, 0.73], [0.64, 0.55, 0.46]],
            "class_names": names,
        },
        "embeddings": {
            "vectors": rng.normal(size=(30, 4)),
            "labels": np.arange(30) % 2,
            "class_names": names,
            "images": images(30, 8, 8, 1),
            "names": [f"{text}/{i}.png" for i in range(30)],
        },
        "classes": {"confusion": [[3, 1], [0, 4]], "class_names": names},
        "health": {
            "findings": [{"name": "views", "sentence": f"{text} sentence"}],
            "history": [
                {"step": 20, "loss": 2.0, "floor": 0.5, "ceiling": 4.0},
                {"step": 100, "loss": 1.0, "floor": 0.5, "ceiling": 4.0},
            ],
        },
        "facts": {f"{text} fact": "1.5 minutes"},
        "notes": [f"{text} note"],
    }


SECTIONS = {
    "table": "metrics",
    "notes": "notes",
    "history": "curves",
    "views": "views",
    "neighbors": "neighbors",
    "embeddings": "map",
    "config": "configuration",
    "classes": "classes",
    "health": "health",
    "facts": "facts",
}


def test_page_holds_every_part(tmp_path):
    page = Page(report.write(tmp_path / "report.html", **_everything()))
    assert page.open == []
    assert set(SECTIONS.values()) <= set(page.ids)
    assert page.count("img") == 1 + 2 * (1 + 3)  # the grid of views, queries and neighbors
    assert page.count("svg") == 2 + 1 + 1  # two curves, a vital and the map
    for text in ("class title", "class note", "nested.deep.0.er", "17", "class own"):
        assert text in page.text
    for text in ("✓ class zero", "✗ class one", "0.91", "0.46", "80.4", "69.5", "class raw"):
        assert text in page.text
    assert page.text.count("✗") - 1 == 1  # one neighbor of another class; one in the key


@pytest.mark.parametrize("part", SECTIONS)
def test_a_single_part_makes_one_section(tmp_path, part):
    given = {"title": "t", part: _everything()[part]}
    page = Page(report.write(tmp_path / "report.html", **given))
    assert page.open == []
    assert [i for i in page.ids if i in SECTIONS.values()] == [SECTIONS[part]]
    assert page.count("section") == 1


@pytest.mark.parametrize("empty", [None, {}, []])
def test_absent_parts_leave_nothing(tmp_path, empty):
    page = Page(report.write(tmp_path / "r.html", title="t", **dict.fromkeys(SECTIONS, empty)))
    assert page.count("section") == page.count("nav") == page.count("img") == page.count("svg") == 0


def test_history_without_a_number_leaves_no_section(tmp_path):
    page = Page(report.write(tmp_path / "r.html", title="t", history={"knn": [np.nan]}))
    assert page.count("section") == 0


def test_every_text_is_escaped(tmp_path):
    page = Page(report.write(tmp_path / "report.html", **_everything(EVIL)))
    assert page.open == []
    assert page.count("script") == 2  # the page's own, and the facts of the map, which are data
    assert page.text.count(EVIL) >= 10
    assert not any(key.startswith("on") for _, attrs in page.tags for key in attrs)


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    page = Page(report.write(tmp_path / "report.html", **_everything()))
    assert len(page.links) > 10
    for link in page.links:
        assert link.startswith(("data:image/png;base64,", "#")), link[:80]
    anchors = {link[1:] for link in page.links if link.startswith("#")}
    assert anchors <= set(page.ids)
    assert not re.search(r"https?:|@import|url\((?!#|data:)", page.source)
    policy = [a["content"] for t, a in page.tags if a.get("http-equiv")]
    assert len(policy) == 1 and policy[0].startswith("default-src 'none'; img-src data:;")


def test_no_id_is_used_twice(tmp_path):
    page = Page(report.write(tmp_path / "report.html", **_everything()))
    assert len(page.ids) == len(set(page.ids))


def test_shares_are_in_percent_with_errors_and_bold_only_if_marked(tmp_path):
    rows = [
        {"name": "a", "knn": 0.804, "rank": 5.5, "images": 20, "missing": None},
        {"name": "b", "knn": 0.8578, "rank": 9.25, "images": 2000, "missing": 0.5},
        {"name": "c", "knn": {"value": 0.9, "interval": (0.88, 0.93), "best": True}},
    ]
    page = Page(report.write(tmp_path / "report.html", title="t", table=rows))
    cells = re.findall(r'<td( class="best")?>(.*?)</td>', page.source)
    texts = [(re.sub("<.*?>", "", text), bool(best)) for best, text in cells]
    assert texts == [
        *[("80.4", False), ("5.5", False), ("20", False), ("–", False)],
        *[("85.8", False), ("9.25", False), ("2000", False), ("50.0", False)],
        *[("90.0 ±2.5", True), ("–", False), ("–", False), ("–", False)],
    ]


def test_the_verdict_comes_first_and_is_escaped(tmp_path):
    found = {"text": "a < b", "good": False}
    page = Page(report.write(tmp_path / "r.html", title="t", verdict=found, notes=["x"]))
    assert '<p class="verdict open">a &lt; b</p>' in page.source
    assert page.source.index('id="verdict"') < page.source.index('id="notes"')


def test_the_label_curve_is_a_picture_and_a_table(tmp_path):
    curve = {"labels": [10, 2000], "value": [0.5, 0.8], "low": [0.4, 0.78], "high": [0.6, 0.82]}
    other = {"labels": [10], "value": [0.3], "low": [0.2], "high": [0.4]}
    page = Page(report.write(tmp_path / "r.html", title="t", label_curve={"a": curve, "b": other}))
    cells = [re.sub("<.*?>", "", cell) for cell in re.findall(r"<td.*?</td>", page.source)]
    assert cells == ["50.0 ±10.0", "80.0 ±2.0", "30.0 ±10.0", "–"]
    assert page.source.count("<svg") == 1 and ">2,000</text>" in page.source


def test_headings_are_words(tmp_path):
    rows = [{"name": "a", "perturbed_knn_200": 0.5, "my_score": 0.5}]
    page = Page(report.write(tmp_path / "report.html", title="t", table=rows))
    heads = re.findall(r'<th scope="col">(.*?)</th>', page.source)
    assert heads == ["features", "k-NN, perturbed (k 200)", "my score"]


def test_page_follows_light_dark_print_and_phone(tmp_path):
    page = Page(report.write(tmp_path / "report.html", **_everything()))
    for rule in ("prefers-color-scheme: dark", "@media print", "max-width: 40rem"):
        assert rule in page.styles
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in [
        attrs for tag, attrs in page.tags if tag == "meta"
    ]


def test_only_an_earlier_report_is_replaced(tmp_path):
    path = tmp_path / "new" / "folder" / "report.html"
    assert report.write(path, title="first") == path
    report.write(path, title="second")
    assert "second" in path.read_text("utf-8")
    assert list(path.parent.iterdir()) == [path]  # no temporary file is left

    mine = tmp_path / "mine.html"
    mine.write_text("<p>my own page</p>")
    with pytest.raises(FileExistsError, match="is not a report of cl_keras, so it is not replaced"):
        report.write(mine, title="t")
    assert mine.read_text() == "<p>my own page</p>"
    with pytest.raises(FileExistsError, match="must be a file; received a folder"):
        report.write(tmp_path, title="t")


def test_a_failed_write_leaves_the_earlier_report(tmp_path, monkeypatch):
    path = report.write(tmp_path / "report.html", title="first")

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        report.write(path, title="second")
    assert "first" in path.read_text("utf-8")
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_pictures_are_explained(tmp_path):
    given = _everything()
    given["originals"] = given["originals"][:2]
    with pytest.raises(ValueError, match="one original .* for each of 3 rows of views"):
        report.write(tmp_path / "r.html", **given)
    given = _everything()
    given["neighbors"]["neighbors"] = given["neighbors"]["neighbors"][0]
    with pytest.raises(ValueError, match=r"received \(2, 8, 8, 1\) and \(3, 8, 8, 1\)"):
        report.write(tmp_path / "r.html", **given)
    assert list(tmp_path.iterdir()) == []


def test_the_policy_admits_the_one_script_and_nothing_else(tmp_path):
    page = Page(report.write(tmp_path / "report.html", **_everything()))
    script = re.search(r"<script>(.*?)</script>", page.source, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(a["content"] for t, a in page.tags if t == "meta" and "http-equiv" in a)
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{digest}'"
    )


def test_the_map_has_every_point(tmp_path):
    embeddings = _everything(EVIL)["embeddings"]
    page = Page(report.write(tmp_path / "report.html", title="t", embeddings=embeddings))
    facts = re.search(r'id="map-facts">(.*?)</script>', page.source, re.DOTALL)[1]
    assert "<" not in facts
    points = json.loads(facts)["points"]
    assert len(points) == 30 and points[3][2] == f"{EVIL}/3.png · {EVIL} one"
    assert page.source.count("<use ") == 30
    assert all(0 <= x <= 640 and 0 <= y <= 460 for x, y, _ in points)


def test_the_confusion_is_in_percent_of_the_true_class(tmp_path):
    page = Page(report.write(tmp_path / "r.html", title="t", classes=_everything()["classes"]))
    cells = [re.sub("<.*?>", "", cell) for cell in re.findall(r"<td.*?</td>", page.source)]
    assert cells == ["75", "25", "4", "·", "100", "4"]


def test_with_many_classes_the_most_confused_pairs_are_listed(tmp_path):
    confusion = 10 * np.eye(30, dtype=int)
    confusion[2, 7] = 5
    names = [f"class {c}" for c in range(30)]
    found = {"confusion": confusion, "class_names": names}
    page = Page(report.write(tmp_path / "r.html", title="t", classes=found))
    assert "class 2 mistaken for class 7: 5 of 15" in page.text
    assert re.findall(r"<td>(.*?)</td>", page.source)[0] == "66.7"  # the worst comes first


def test_a_healthy_run_is_called_healthy(tmp_path):
    found = {"findings": [], "history": [{"step": 20, "loss": 2.0}]}
    page = Page(report.write(tmp_path / "r.html", title="t", health=found))
    assert "No problems found (checks: 1)." in page.text
