"""What a check finds."""

from dataclasses import dataclass
from pathlib import Path

from brandhouse_flows.checks.catalogue import RULES, Rule, Severity


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend.

    Attributes:
        brand: The folder's name.
        rule_id: Which rule of the catalogue it breaks.
        file: Path below the brand's folder, with slashes.
        what: What is wrong.
        fix: What to do.
        line: Counted from one; None where the file as a whole is meant.
        column: Counted from one.
    """

    brand: str
    rule_id: str
    file: str
    what: str
    fix: str
    line: int | None = None
    column: int | None = None

    @property
    def rule(self) -> Rule:
        """The broken rule."""
        return RULES[self.rule_id]

    @property
    def severity(self) -> Severity:
        """`error` or `warning`."""
        return self.rule.severity

    @property
    def reason(self) -> str:
        """Why the rule exists."""
        return self.rule.reason

    @property
    def where(self) -> str:
        """File below the brand's folder, with the line where one is known."""
        return f"{self.file}:{self.line}" if self.line else self.file


def make_problem(
    folder: Path, rule_id: str, file: str, what: str, *, line: int | None = None, column: int | None = None, fix: str | None = None
) -> Problem:
    """Return a problem of a brand's folder; the fix is the rule's where none is given."""
    return Problem(folder.name, rule_id, file, what, fix or RULES[rule_id].fix, line, column)
