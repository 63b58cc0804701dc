"""The HTML report by what is in it; `test_page_browser.py` looks at it as a reader does."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from jacexp.report.page.content import page_of
from jacexp.report.page.render import FOLDER, render
from jacexp.report.paper import EXPERIMENTS
from jacexp.report.schema import read_store
from jacexp.results import tidy

FMNIST = EXPERIMENTS["P2"][2]
OWN = {"protocol": "own", "dataset": "shapes", "model": "net"}
EVIL = '<script>alert("x")</script><img src=x onerror=alert(1)>'


class Parsed(HTMLParser):
    """The elements of a page: tags with their attributes, tables by caption, scripts and the text of all else."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags, self.tables, self.scripts, self.texts = [], {}, [], []
        self._cell = None
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th", "caption"):
            self._cell = ""
        elif tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        if tag == "caption":
            self._caption = self._cell
        elif tag in ("td", "th"):
            self._rows[-1].append(self._cell)
        elif tag == "table":
            self.tables.setdefault(self._caption, self._rows)
        self._cell = None if tag in ("td", "th", "caption") else self._cell

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1] += data
        elif self._cell is not None:
            self._cell += data
        self.texts.append(data)

    @property
    def data(self):
        return json.loads(self.scripts[0])


@pytest.fixture
def parsed(tables, tmp_path):
    """Write the tables, make a page of them all, and read it."""

    def parse(**choice):
        store = read_store(tables.write(tmp_path))
        return Parsed(render(page_of(store, *tidy(store), **choice)))

    return parse


@pytest.fixture
def sweep(tables, tmp_path):
    """Two strengths of spec and none, two seeds each, with noise curves, distances and a Jacobian."""
    for seed in (0, 1):
        for lam, share in ((0.01, 0.8), (0.1, 0.9)):
            run = tables.run(FMNIST, "spec", seed, lam=lam, val=share, test=share + seed / 100, **OWN)
            tables.curve(run, "white_noise", {0: share, 0.5: share - 0.2 - seed / 10}, variable="sigma")
            tables.distance(run, {i: 1 + i for i in range(5)})
            tables.point(run, "jacobian", statistic="sigma1", mean=3 + seed, n=10)
        tables.run(FMNIST, "none", seed, val=0.7, test=0.7, **OWN)
    folder = tmp_path / "runs" / tables.runs[0]["run"]
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("method:\n  lam: 0.01\n")
    (folder / "metrics.csv").write_text(
        "epoch,train_loss,val_n,val_n_correct,val_loss\n0,2,10,5,1.5\n1,1,10,6,1\n"
    )
    return tables


def trace(figure, name):
    return next(t for t in figure["data"] if t.get("name") == name)


def test_values_are_those_of_the_stored_rows(sweep, parsed):
    page = parsed()
    rows = {tuple(row[2:4]): row for row in page.tables["Summary"]}
    assert rows["spec", "0.1"][4:6] == ["2", "90.50 ± 0.71"]
    assert rows["spec", "0.1"][8] == "best"
    assert [row[0] for row in page.tables["Runs"][1:]] == [row["run"] for row in sweep.runs]
    noise = next(t for t in page.tables if t.startswith("white_noise"))
    values = {tuple(row[:2]): row[2:] for row in page.tables[noise][1:]}
    assert values["spec (lam 0.1)", "0.5"] == ["65", "7.07107", "2", ""]
    titles = [title for title in page.tables if title not in ("Summary", "Runs")]
    figures = dict(zip(titles, page.data["figures"], strict=True))
    line = trace(figures[noise], "spec (lam 0.1)")
    assert (line["x"], line["y"]) == ([0, 0.5], pytest.approx([90, 65]))
    assert line["text"][1] == "65.00 ± 7.07 (n = 2)"


def test_every_kind_of_figure_is_drawn(sweep, parsed):
    titles = " ".join(parsed().tables)
    for word in ("white_noise", "boundary: distance", "jacobian", "grid", "training: validation loss"):
        assert word in titles


def test_the_best_setting_of_each_method_is_shown_and_the_others_wait_in_the_legend(sweep, parsed):
    (noise, *_) = parsed().data["figures"]
    assert trace(noise, "spec (lam 0.1)")["visible"] is True
    assert trace(noise, "spec (lam 0.01)")["visible"] == "legendonly"


def test_a_setting_with_a_lost_run_is_not_shown_and_a_method_of_ones_own_has_a_look(sweep, parsed):
    sweep.lost(FMNIST, "spec", 2, lam=0.1, **OWN)
    sweep.curve(sweep.run(FMNIST, "mine", 0, **OWN), "white_noise", {0: 0.9, 0.5: 0.8}, variable="sigma")
    noise = next(f for f in parsed().data["figures"] if any(t.get("name") == "mine" for t in f["data"]))
    assert trace(noise, "spec (lam 0.01)")["visible"] is True
    assert trace(noise, "spec (lam 0.1)")["visible"] == "legendonly"
    assert trace(noise, "mine")["line"]["color"] not in {
        trace(noise, "spec (lam 0.1)")["line"]["color"],
        "#000000",
    }


def test_the_grid_has_a_cell_for_each_strength_and_an_empty_one_where_nothing_ran(sweep, parsed):
    cells = next(f["data"][0] for f in parsed().data["figures"] if f["data"][0]["type"] == "heatmap")
    assert (cells["x"], cells["y"]) == (["–", "0.01", "0.1"], ["none", "spec"])
    assert cells["z"] == [[pytest.approx(0.3), None, None], [None, pytest.approx(0.2), pytest.approx(0.1)]]


def test_a_run_has_its_command_configuration_and_curves(sweep, parsed):
    run = sweep.runs[0]
    run["command"] = "python train.py +method=spec 'seed=0,1' -m"
    page = parsed()
    assert run["command"] in page.texts
    assert "method:\n  lam: 0.01\n" in page.texts
    training, noise = page.data["runs"][run["run"]]
    assert trace(training, "val loss")["y"] == [1.5, 1]
    assert trace(noise, "white_noise")["y"] == pytest.approx([80, 60])
    assert [f["name"] for f in page.data["runs"][sweep.runs[1]["run"]]] == ["white_noise"]


def test_damaged_epochs_are_named_and_the_rest_is_shown(sweep, parsed, tmp_path):
    path = tmp_path / "runs" / sweep.runs[0]["run"] / "metrics.csv"
    path.write_text("epoch,val_n\n0,many\n")
    page = parsed()
    assert any(f"{path} is damaged" in text for text in page.texts)
    assert [f["name"] for f in page.data["runs"][sweep.runs[0]["run"]]] == ["white_noise"]


def test_verdicts_and_the_papers_tables_are_those_of_the_scorecard(tables, parsed):
    for seed in range(3):
        tables.run(FMNIST, "spec", seed, test=0.91 + seed / 1000, lam=0.01)
        tables.run(FMNIST, "none", seed, test=0.90)
        for method, ratio in (("spec", 2.0), ("analytical", 9.0 + seed)):
            tables.time("lenet", method, ratio, started=f"2025-01-0{seed + 1}T00:00:00+00:00")
    page = parsed()
    verdicts = {row[0]: row[5] for row in page.tables["Verdicts"][1:]}
    assert (verdicts["P2-d-time/lenet"], verdicts["P1-a/mnist"]) == ("refuted", "not run")
    title = next(t for t in page.tables if t.startswith("P2 Table 1") and "FashionMNIST" in t)
    assert page.tables[title][1][:4] == ["spec", "91.10 ± 0.06", "91.10 ± 0.10", "3 of 5"]
    assert not any("KMNIST" in t for t in page.tables)
    assert "Verdicts" not in parsed(title="dataset=fmnist").tables


def test_nothing_is_fetched_and_only_the_scripts_of_the_page_may_run(sweep, parsed):
    page = parsed()
    links = [
        a[name] for _, a in page.tags for name in ("src", "href", "srcset", "action", "data") if name in a
    ]
    assert links
    assert all(link.startswith("#") for link in links)
    assert not re.search(r"url\(|@import", (FOLDER / "page.css").read_text())
    (policy,) = [a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.scripts[1:]]
    assert re.findall(r"sha256-([^']+)", policy) == digests
    assert page.scripts[2] == (FOLDER / "page.js").read_text()


def test_what_is_stored_cannot_become_a_part_of_the_page(tables, parsed):
    for seed in (0, 1):
        run = tables.run(FMNIST, EVIL, seed, command=EVIL, **{**OWN, "dataset": EVIL, "model": "</script>"})
        tables.curve(run, "white_noise", {0: 0.9, 1: 0.8}, threat=EVIL, variable=EVIL)
    page = parsed(title=EVIL)
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert not any(tag == "img" or any(name.startswith("on") for name in a) for tag, a in page.tags)
    assert EVIL in "".join(page.texts)
    assert page.tables["Summary"][1][0] == EVIL


def test_each_heading_is_below_the_one_before_and_each_drawing_has_a_name(sweep, parsed):
    tags = parsed().tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch(r"h\d", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    drawings = [a for _, a in tags if a.get("class") == "drawing"]
    assert drawings
    assert all(a["role"] == "img" and a["aria-label"] for a in drawings)
