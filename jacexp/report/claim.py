"""A claim of a paper, and the rows of the scorecard that it has: one for each data set or network."""

from collections.abc import Mapping
from dataclasses import dataclass

from jacexp.report.comparisons import Test
from jacexp.report.paper import Experiment, set_name
from jacexp.report.select import Selection
from jacexp.report.stats import Evidence, all_of


@dataclass(frozen=True)
class Claim:
    """A claim: where a paper makes it, in which words, and the tests that decide it, each of which has to hold."""

    id: str
    where: str
    text: str
    paper: Mapping[Experiment, str]
    """The paper's numbers, by the experiments that the claim is about."""
    tests: tuple[Test, ...]
    of_network: bool = False
    """Whether the claim is about networks, not data sets."""

    def rows(self) -> dict[str, "Row"]:
        """Return the rows of the scorecard by id, as in ``P2-a/fmnist``."""
        names = {e: e.model if self.of_network else e.dataset for e in self.paper}
        return {f"{self.id}/{name}": Row(self, e) for e, name in names.items()}


@dataclass(frozen=True)
class Row:
    """A claim about one data set or network."""

    claim: Claim
    experiment: Experiment

    @property
    def text(self) -> str:
        """The claim in words, and what it is about."""
        e = self.experiment
        about = e.model if self.claim.of_network else set_name(e.dataset)
        return f"{about}: {self.claim.text}"

    @property
    def paper(self) -> str:
        """The paper's numbers."""
        return self.claim.paper[self.experiment]

    def test(self, selection: Selection) -> Evidence:
        """Test the claim on the stored tables."""
        return all_of([part for test in self.claim.tests for part in test(selection, self.experiment)])
