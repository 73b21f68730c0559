"""Two invented brands live one year on the platform in some minutes, with faults planted at known times; what was found, done, kept.

    python benchmarks/simulated_year.py [--days N] [--seed N] [--write]

Snapshots, trainings, gates, monitors, alerts, decisions, trials and the ledger are the platform's own, at default settings; the clock, the
traffic and the people are simulated (`tests/fixtures/year_*.py`). Each brand is a process; both share one home and one ledger. The same
seed gives the same tables. `--write` puts them and the picture into the docs.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "fixtures"))

PAGE = ROOT / "docs" / "benchmarks" / "simulated-year.md"
PICTURE = ROOT / "docs" / "images" / "simulated-year.png"
BEGIN, END = "<!-- written by benchmarks/simulated_year.py -->", "<!-- end of benchmarks/simulated_year.py -->"
BRANDS = {"duin": (True, 300, "low"), "hei": (False, 250, "medium")}
"""Whether it predicts a number, answers a day, risk class."""


def main() -> None:
    """Live the year with both brands, print the tables."""
    options = _parse()
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="brandhouse-year-") as made, ProcessPoolExecutor(len(BRANDS)) as pool:
        _make_ledger(Path(made))
        lived = list(pool.map(_live, [(made, name, options.days, options.seed) for name in BRANDS]))
    lines = _report(lived)
    print("\n".join(lines))
    print(f"\n{time.monotonic() - started:.0f} seconds", file=sys.stderr)
    if options.write:
        _write(lines)
        PICTURE.write_bytes(_draw(lived))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", action="store_true")
    return parser.parse_args()


def _make_ledger(root: Path) -> None:
    """Before two processes would do it at once."""
    from brandhouse_shared.ledger import open_ledger

    (root / "home").mkdir()
    open_ledger(f"sqlite:///{root / 'home' / 'ledger.db'}")


def _live(job: tuple[str, str, int, int]) -> Any:
    from year_run import live
    from year_world import YEAR, World

    root, name, days, seed = job
    logging.disable(logging.WARNING)  # the route `log` would print every message
    is_regression, rows_a_day, risk = BRANDS[name]
    world = World(name, is_regression, rows_a_day, tuple(fault for fault in YEAR[name] if fault.begin < days), seed)
    return live(Path(root), world, risk=risk, days=days)


def _report(lived: Sequence[Any]) -> list[str]:
    return [*_faults(lived), "", *_actions(lived), "", *_alarms(lived), "", *_quality(lived)]


def _faults(lived: Sequence[Any]) -> list[str]:
    from year_judgement import find_faults

    lines = ["| brand | day | fault | found by | after hours | answers | then also red | lost to the oracle | never retrained |"]
    lines += ["|---|---:|---|---|---:|---:|---|---:|---:|"]
    for one in lived:
        for found in find_faults(one):
            found_by = found.check or "**not found**"
            seen = [f"{found.hours:.0f}", f"{found.rows:,}"] if found.check else ["", ""]
            lost = [f"{found.lost:.1f}", f"{found.lost_never:.1f}"]
            cells = [one.world.name, str(found.fault.begin), found.fault.kind, found_by, *seen, ", ".join(found.others) or "-", *lost]
            lines.append(f"| {' | '.join(cells)} |")
    return lines


def _actions(lived: Sequence[Any]) -> list[str]:
    from year_judgement import find_faults

    lines = ["| brand | fault | what the check said | what was done in its time |", "|---|---|---|---|"]
    for one in lived:
        for found in find_faults(one):
            done = "; ".join(f"{count} × {text}" if count > 1 else text for text, count in found.actions.items())
            lines.append(f"| {one.world.name} | {found.fault.kind} | {found.said.partition(';')[0]} | {done or '-'} |")
    return lines


def _alarms(lived: Sequence[Any]) -> list[str]:
    from year_judgement import count_false_alarms

    lines = ["| brand | months without a fault | checks that became red | a month | most in any month | messages | which |"]
    lines += ["|---|---:|---:|---:|---:|---:|---|"]
    for one in lived:
        alarms = count_false_alarms(one)
        which = ", ".join(f"{name} (day {day:.0f})" for day, name in alarms.red) or "-"
        rate = f"{len(alarms.red) / alarms.months:.2f}" if alarms.months else "-"
        cells = [
            one.world.name,
            f"{alarms.months:.1f}",
            str(len(alarms.red)),
            rate,
            str(alarms.worst_month),
            str(len(alarms.messages)),
            which,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _quality(lived: Sequence[Any]) -> list[str]:
    from year_judgement import measure_quality

    lines = ["| brand | score, mean of all days | oracle | never retrained | of the oracle's score | of the gap between never and oracle |"]
    lines += ["|---|---:|---:|---:|---:|---:|"]
    for one in lived:
        kept = measure_quality(one)
        scores = [f"{score:.3f}" for score in (kept.own, kept.oracle, kept.never)]
        lines.append(f"| {one.world.name} | {' | '.join(scores)} | {kept.ratio:.1%} | {kept.gap_share:.1%} |")
    return lines


def _draw(lived: Sequence[Any]) -> bytes:
    """The three scores of each brand, week by week, with the faults' times shaded."""
    import io

    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from brandhouse_flows.plots import BLUE, GREEN, INK, MUTED, RULE, VERMILLION

    figure = Figure(figsize=(9, 6), dpi=110)
    for place, one in enumerate(lived, start=1):
        axes = figure.add_subplot(len(lived), 1, place)
        days = np.array(one.days)
        weeks = [days[days[:, 0] // 7 == week].mean(axis=0) for week in np.unique(days[:, 0] // 7)]
        for column, (label, colour) in enumerate((("platform", BLUE), ("oracle", GREEN), ("never retrained", VERMILLION)), start=1):
            axes.plot([week[0] for week in weeks], [week[column] for week in weeks], color=colour, label=label, linewidth=1.6)
        for fault in one.world.faults:
            end = min(fault.end, one.world.repaired.get(fault.kind, fault.end))
            axes.axvspan(fault.begin, max(end, fault.begin + 1), color=RULE, zorder=0)
            axes.annotate(fault.kind, (fault.begin, 1.02), xycoords=("data", "axes fraction"), fontsize=8, color=INK)
        axes.set_ylabel(f"{one.world.name}: score", color=INK)
        axes.grid(color=RULE, linewidth=0.5)
        axes.tick_params(colors=MUTED)
    axes.set_xlabel("day of the year", color=INK)
    axes.legend(loc="lower left", fontsize=8, frameon=False)
    figure.tight_layout()
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png")
    return buffer.getvalue()


def _write(lines: list[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + BEGIN + "\n\n" + "\n".join(lines) + "\n\n" + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
