"""Words for figures, and text of files and bundles made fit for a terminal."""

from __future__ import annotations

_METRICS = {
    "top1": "top-1",
    "top3": "top-3",
    "top5": "top-5",
    "top10": "top-10",
    "map_macro": "mAP",
    "map_micro": "micro mAP",
    "f1_macro": "F1",
    "f1_micro": "micro F1",
    "miou": "mIoU",
    "miou_present": "mIoU of classes that occur",
    "iou": "IoU",
    "boundary_iou": "boundary IoU",
    "dice": "Dice",
    "auroc": "AUROC",
    "ap": "average precision",
    "f1": "F1",
    "f1_weighted": "weighted F1",
    "brier": "Brier score",
    "ece": "calibration error",
    "adaptive_ece": "adaptive calibration error",
    "per_class": "recall",
    "image_iou": "IoU of images",
    "f1_samples": "F1 of images",
    "set_coverage": "sets that hold the true class",
    "set_size": "classes in a set",
    "known_right": "right of those not unknown",
}

_COUNTS = frozenset({"support", "pixels", "positives"})
_SCORES = frozenset({"loss", "brier", "set_size"})  # which are not fractions


def metric_name(metric: str) -> str:
    """The name of a metric in sentences and tables: `top-1`, `balanced accuracy`."""
    return _METRICS.get(metric, metric.replace("_", " "))


def is_count(figure: str) -> bool:
    """Whether a figure of a class counts images or pixels."""
    return figure in _COUNTS


def figure_text(metric: str, value: float | None) -> str:
    """A figure in a table: fractions in percent, counts and scores such as the loss as they are; nothing for None."""
    if value is None:
        return ""
    if metric in _COUNTS:
        return f"{value:,.0f}"
    return f"{value:.4f}" if metric in _SCORES else f"{100 * value:.2f} %"


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
