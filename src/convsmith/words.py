"""Words for figures, and text of files and bundles made fit for a terminal."""

from __future__ import annotations

_METRICS = {
    "top1": "top-1",
    "top5": "top-5",
    "map_macro": "mAP",
    "map_micro": "micro mAP",
    "f1_macro": "F1",
    "f1_micro": "micro F1",
    "miou": "mIoU",
}


def metric_name(metric: str) -> str:
    """The name of a metric in sentences and tables: `top-1`, `balanced accuracy`."""
    return _METRICS.get(metric, metric.replace("_", " "))


def points_lost(drop: float) -> str:
    """A change of a metric in points, in words: `0.84 points gained` of a drop of -0.84."""
    points = f"{abs(drop):.2f} points"
    return f"{points} {'gained' if drop < 0 and points != '0.00 points' else 'lost'}"


def points_between(interval: tuple[float, float] | None) -> str:
    """The interval of a drop, in brackets: ` (95 %: 0.12 gained to 0.31 lost)`; nothing where there is none."""
    if interval is None:
        return ""
    low, high = (points_lost(drop).replace(" points", "") for drop in interval)
    return f" (95 %: {low} to {high})"


def for_terminal(text: str) -> str:
    """`text` on one line, without characters that steer a terminal; undecodable bytes of file names are kept."""
    return "".join(
        c if c.isprintable() or "\udc80" <= c <= "\udcff" else c.encode("unicode_escape").decode() for c in text
    )
