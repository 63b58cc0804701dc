"""The scorecard: one row a claim of the papers, with a verdict that a test gave."""

import csv
import io
from dataclasses import dataclass

from jacexp.report import claims_p1, claims_p2
from jacexp.report.claim import Claim
from jacexp.report.render import selected
from jacexp.report.select import Selection
from jacexp.report.sheet import Section, Sheet
from jacexp.report.stats import LEVEL, Evidence

CLAIMS: dict[str, Claim] = {**claims_p1.CLAIMS, **claims_p2.CLAIMS}

COLUMNS = [
    "id",
    "paper",
    "where",
    "claim",
    "paper_number",
    "verdict",
    "quantity",
    "quantity_paper",
    "ours",
    "low",
    "high",
    "n",
    "p",
    "test",
    "confirmed",
    "refuted",
    "undecided",
    "not_run",
    "command",
]
"""The columns of ``scorecard.csv``; `results/README.md` says what they mean."""

HOW_TO_READ = (
    f"A claim is a conjunction of parts, each tested at the one-sided level {LEVEL:g}. It is confirmed if every part "
    "is (intersection-union test, no correction needed), refuted if the opposite of any part is significant (Holm's "
    "correction over the parts), undecided otherwise, and `not run` while a part has no data. The quantity shown is "
    "that of the part on which the verdict depends. Below, each part has the verdict of its own test, uncorrected."
)


@dataclass(frozen=True)
class Score:
    """A claim and what the store says about it."""

    id: str
    claim: Claim
    evidence: Evidence

    @property
    def commands(self) -> list[str]:
        """What makes the input, each command once."""
        return list(dict.fromkeys(command for leaf in self.evidence.leaves for command in leaf.commands))

    def count(self, verdict: str) -> int:
        """Count the parts with a verdict."""
        return sum(part.verdict == verdict for part in self.evidence.parts)


def scores(selection: Selection) -> list[Score]:
    """Test every claim on the stored tables."""
    return [Score(id_, claim, claim.test(selection)) for id_, claim in CLAIMS.items()]


def to_csv(scored: list[Score]) -> str:
    """Write the scorecard as CSV, one row a claim."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_row(score) for score in scored)
    return text.getvalue()


def _row(score: Score) -> dict[str, object]:
    part, verdict = score.evidence.decisive, score.evidence.verdict
    numbers = {"quantity_paper": part.paper, "ours": part.estimate, "low": part.low, "high": part.high}
    p = score.evidence.p_against if verdict == "refuted" else score.evidence.p_for
    return {
        "id": score.id,
        "paper": score.id[:2],
        "where": score.claim.where,
        "claim": score.claim.text,
        "paper_number": score.claim.paper,
        "verdict": verdict,
        "quantity": part.what,
        **{name: _number(value) for name, value in numbers.items()},
        "n": part.n,
        "p": "" if verdict == "not run" else _number(p),
        "test": part.test,
        **{
            name.replace(" ", "_"): score.count(name)
            for name in ("confirmed", "refuted", "undecided", "not run")
        },
        "command": "; ".join(score.commands),
    }


def _number(value: float | None) -> str:
    return "" if value is None or value != value else f"{value:.4g}"


def sheet(scored: list[Score], selection: Selection) -> Sheet:
    """Write the scorecard as text: the verdicts in one table, then the parts of each claim."""
    headings = ("id", "claim", "paper", "ours", "n", "verdict")
    rows = tuple(
        (s.id, s.claim.text, s.claim.paper, *_ours(s.evidence), f"**{s.evidence.verdict}**") for s in scored
    )
    parts = tuple(_parts(score) for score in scored)
    intro = ("One row a claim of the two papers.", HOW_TO_READ, selected(selection.how))
    return Sheet("Scorecard", intro, (Section("Verdicts", headings, rows), *parts))


def _ours(evidence: Evidence) -> tuple[str, str]:
    part = evidence.decisive
    return (f"{part.what}: {_estimate(part)}", str(part.n)) if part.n else ("–", "0")


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
    title = f"{score.id}, {score.claim.where}"
    headings = ("quantity", "paper", "ours [95 % interval]", "n", "verdict", "test")
    return Section(title, headings, tuple(rows), tuple(f"`{command}`" for command in score.commands))
