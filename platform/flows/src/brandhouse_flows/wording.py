"""How numbers read in gates, slices, plots and cards: the same number looks the same everywhere."""

import math


def say_number(value: float | None) -> str:
    """Write a number with at most four significant digits and thousands separators; what is unknown is "unknown"."""
    if value is None or math.isnan(value):
        return "unknown"
    if not math.isfinite(value):
        return "infinite" if value > 0 else "minus infinite"
    if value == 0 or (float(value).is_integer() and abs(value) < 1e15):
        return f"{value:,.0f}"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) < 1e-4 else f"{value:.{3 - math.floor(math.log10(abs(value)))}f}".rstrip("0").rstrip(".")


def say_interval(low: float | None, high: float | None) -> str:
    """Write an interval as `low to high`; "unknown" if either end is."""
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return "unknown"
    return f"{say_number(low)} to {say_number(high)}"


def say_signed(value: float | None) -> str:
    """Write a difference with its sign."""
    text = say_number(value)
    return f"+{text}" if value is not None and value > 0 and text != "unknown" else text


def say_share(share: float | None) -> str:
    """Write a share in [0, 1] as a percentage; a tiny one is never rounded to none."""
    if share is None or math.isnan(share):
        return "unknown"
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f}".removesuffix(".0") + " %"


def shorten(text: object, limit: int = 60) -> str:
    """Cut a text for a table cell or a label; line breaks become spaces."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
