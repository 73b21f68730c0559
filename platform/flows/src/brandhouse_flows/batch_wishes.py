"""What is asked of a scoring of a file, what it tells meanwhile, and how it ended."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from brandhouse_shared.names import ModelKey


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for.

    Attributes:
        number: Version; None: the one in production.
        keep: Columns of the input to write; None: all.
        separator, encoding: Of a CSV input, if they differ from those of the model's dataset.
        strict: Stop at the first row that contradicts the input schema.
        restart: Forget what another scoring under this output's name has done.
        overwrite: Replace an output that exists.
        chunk_rows: Rows read and written at once; None: as fits.
    """

    key: ModelKey
    input: Path
    output: Path
    number: int | None = None
    keep: tuple[str, ...] | None = None
    separator: str | None = None
    encoding: str | None = None
    strict: bool = False
    restart: bool = False
    overwrite: bool = False
    chunk_rows: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scoring is.

    Attributes:
        rows: Rows done, those of earlier attempts included.
        rows_here: Rows done by this process.
        seconds: Since this process began with them.
        share: Share of the input that is read.
    """

    rows: int
    rows_here: int
    seconds: float
    share: float

    @property
    def rows_per_second(self) -> float:
        """Of this process."""
        return self.rows_here / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        return f"{self.rows:,} rows ({self.share:.0%}), {self.rows_per_second:,.0f} rows/s, {self._left}"

    @property
    def _left(self) -> str:
        """About how long the rest takes: as many bytes a row as so far."""
        if not (self.share and self.rows_per_second):
            return "rest unknown"
        seconds = self.rows * (1 / self.share - 1) / self.rows_per_second
        return f"about {seconds:,.0f} s left"


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Scored:
    """A finished scoring.

    Attributes:
        alone: Why rows were asked one by one; empty if in blocks.
        resumed_rows: Rows that an earlier attempt had done.
    """

    run_id: str
    version: str
    output: Path
    rows: int
    refused: int
    failed: int
    resumed_rows: int
    seconds: float
    alone: str
    input_sha256: str
    output_sha256: str

    @property
    def detail(self) -> str:
        """One sentence for people and for the ledger."""
        without = [f"{count} {what}" for count, what in ((self.refused, "contradict the input schema"), (self.failed, "failed")) if count]
        return (
            f"{self.version}: {self.rows} rows scored" + (f", of which {' and '.join(without)} (column error)" if without else "") + "; "
            f"input sha256 {self.input_sha256}, output sha256 {self.output_sha256}"
        )
