"""The scorecard: one row a claim of the papers and data set or network, with a verdict that a test gave."""

import re
from collections import Counter
from dataclasses import dataclass

import pandas as pd

from jacexp.report.claim import Row
from jacexp.report.claims import ROWS
from jacexp.report.hours import Costs
from jacexp.report.markup import Document, Section, markdown
from jacexp.report.select import Selection
from jacexp.report.stats import LEVEL, VERDICTS, Evidence
from jacexp.report.tables import selected

OF_THE_MACHINE = {"hours", "command"}
"""Columns that do not make a row another one: every run tells something about how long others take."""

HOW_TO_READ = (
    f"A claim is a conjunction of parts, each tested at the one-sided level {LEVEL:g}. It is confirmed if every part "
    "is (intersection-union test, no correction needed), refuted if the opposite of any part is significant (Holm's "
    "correction over the parts), undecided otherwise, and `not run` while a part has no data. The quantity shown is "
    "that of the part on which the verdict depends. Below, each part has the verdict of its own test, uncorrected. "
    "Hours are those of the training that the commands still do, by the stored times of runs of the same network, "
    "method and data set, in proportion to images and epochs."
)


@dataclass(frozen=True)
class Score:
    """A row of the scorecard and what the store says about it."""

    id: str
    row: Row
    evidence: Evidence
    hours: float | None
    """Of training that the commands still do; None where no stored run tells."""

    @property
    def verdict(self) -> str:
        """The verdict on the claim."""
        return self.evidence.verdict

    @property
    def is_decided(self) -> bool:
        """Whether the claim is confirmed or refuted."""
        return self.verdict in ("confirmed", "refuted")

    @property
    def commands(self) -> list[str]:
        """What makes the input, each command once."""
        return list(dict.fromkeys(command for leaf in self.evidence.leaves for command in leaf.commands))

    @property
    def hours_in_words(self) -> str:
        """The hours of a row that is not decided; empty where it takes no training."""
        if self.is_decided or not any(leaf.cells for leaf in self.evidence.leaves):
            return ""
        return "unknown" if self.hours is None else f"{self.hours:.1f}"

    def count(self, verdict: str) -> int:
        """Count the parts with a verdict."""
        return sum(part.verdict == verdict for part in self.evidence.parts)


def scores(selection: Selection) -> list[Score]:
    """Test every claim on the stored tables."""
    costs, scored = Costs(selection), []
    for id_, row in ROWS.items():
        evidence = row.test(selection)
        cells = [cell for leaf in evidence.leaves for cell in leaf.cells]
        scored.append(Score(id_, row, evidence, costs.missing(cells)))
    return scored


def outcome(scored: list[Score]) -> str:
    """Write in one line how many rows are decided, and how."""
    n = Counter(score.verdict for score in scored)
    decided = n["confirmed"] + n["refuted"]
    return (
        f"scorecard: {decided} of {len(scored)} rows are decided, {n['confirmed']} confirmed and {n['refuted']} "
        f"refuted; {n['undecided']} are undecided, {n['not run']} not run"
    )


def to_csv(scored: list[Score], with_yours: list[Score] | None = None) -> str:
    """Write the scorecard as CSV, one row a claim and data set or network; `results/README.md` has the columns.

    Args:
        scored: of the reference, or of a folder that is read alone.
        with_yours: the same with a user's runs: a claim that they change has a second row, and a last column says
            whose runs a row is about.

    Returns:
        The table.
    """
    rows = [_row(score) for score in scored]
    if with_yours is not None and with_yours is not scored:
        others = [_row(score) for score in with_yours]
        pairs = zip(rows, others, strict=True)
        rows = [
            {**row, "source": source}
            for before, after in pairs
            for row, source in ((before, "reference"), (after, "with yours"))
            if source == "reference" or any(after[c] != before[c] for c in after.keys() - OF_THE_MACHINE)
        ]
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def _row(score: Score) -> dict[str, object]:
    part, verdict = score.evidence.decisive, score.evidence.verdict
    numbers = {"quantity_paper": part.paper, "ours": part.estimate, "low": part.low, "high": part.high}
    p = score.evidence.p_against if verdict == "refuted" else score.evidence.p_for
    return {
        "id": score.id,
        "paper": score.id[:2],
        "where": score.row.claim.where,
        "claim": score.row.text,
        "paper_number": score.row.paper,
        "verdict": verdict,
        "quantity": part.what,
        **{name: _number(value) for name, value in numbers.items()},
        "n": part.n,
        "p": "" if verdict == "not run" else _number(p),
        "test": part.test,
        **{name.replace(" ", "_"): score.count(name) for name in VERDICTS},
        "hours": score.hours_in_words,
        "command": "; ".join(score.commands),
    }


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.4g}"


def document(scored: list[Score], selection: Selection) -> Document:
    """Write the scorecard as text: the verdicts in one table, then the parts of each claim."""
    parts = tuple(_parts(score) for score in scored)
    intro = (
        "One row a claim of the two papers and data set (or network).",
        HOW_TO_READ,
        selected(selection.how),
        f"**{outcome(scored)}**",
    )
    return Document("Scorecard", intro, (verdicts("Verdicts", scored), *parts))


def verdicts(title: str, scored: list[Score]) -> Section:
    """Write rows of the scorecard as a table, paper and ours side by side."""
    headings = ("id", "claim", "paper", "ours", "n", "verdict", "hours missing")
    rows = tuple(
        (s.id, s.row.text, s.row.paper, *_ours(s), f"**{s.verdict}**", s.hours_in_words or "–")
        for s in scored
    )
    return Section(title, headings, rows)


def readme(scored: list[Score]) -> str:
    """Write what the README shows: the rows that are decided, and how many there are of each kind."""
    shown = verdicts("", [score for score in scored if score.verdict in ("confirmed", "refuted")])
    without_hours = Section("", shown.headings[:-1], tuple(row[:-1] for row in shown.rows))
    text = f"{outcome(scored).capitalize()}: `results/scorecard.md` has every part and the commands."
    return markdown(Document("", (text,), (without_hours,))).strip()


def _ours(score: Score) -> tuple[str, str]:
    """Return the decisive part's quantity and estimate, without the data set or network that the row names already."""
    part, e = score.evidence.decisive, score.row.experiment
    subject = re.compile(rf"^({e.dataset}|{e.model})(: |, )")
    return (f"{subject.sub('', part.what)}: {_estimate(part)}", str(part.n)) if part.n else ("–", "0")


def _estimate(part: Evidence) -> str:
    text = _number(part.estimate)
    return f"{text} [{_number(part.low)}, {_number(part.high)}]" if part.low == part.low else text


def _parts(score: Score) -> Section:
    rows = []
    for part in score.evidence.parts:
        leaf = part.decisive
        what = f"{part.what} ({leaf.what})" if part.parts else part.what
        rows.append(
            (
                what,
                _number(leaf.paper),
                _estimate(leaf) if leaf.n else "–",
                str(leaf.n),
                part.verdict,
                leaf.test,
            )
        )
    title = f"{score.id}, {score.row.claim.where}"
    headings = ("quantity", "paper", "ours [95 % interval]", "n", "verdict", "test")
    return Section(title, headings, tuple(rows), tuple(f"`{command}`" for command in score.commands))
