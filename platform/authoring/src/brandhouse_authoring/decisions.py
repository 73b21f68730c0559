"""What was decided about a table, and why: the lines of the short table that a person reads.

No line holds a value of a row: a table may hold personal data.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of the table that says what was decided.

    Attributes:
        subject: A column by its own name, or one of "file", "target", "task", "metric", "split", "estimator", "gates",
            "slices", "risk", "rows"; several columns of one kind are joined by commas.
        decision: What was decided, in a few words: "left out", "category of 5 values".
        why: The reason, in one short sentence without a value of a row.
        attention: Whether a person should look at it.
    """

    subject: str
    decision: str
    why: str
    attention: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """Something only a person knows. What happens without an answer is `default`.

    Attributes:
        column: The column it is about.
        text: The question, to be answered by yes or no.
        default: True keeps the column as an input, False leaves it out.
    """

    column: str
    text: str
    default: bool
