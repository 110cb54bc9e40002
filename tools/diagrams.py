"""The diagrams of docs/explanation: chains of boxes, as SVG that is readable on light and on dark pages.

python tools/diagrams.py
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "docs" / "explanation"
WIDTH, HEIGHT, GAP, ROW = 190, 56, 46, 4  # pixels of a box and between two; boxes in a row

TRIPS = {
    "trip-rate": (
        ("recipe.yaml", "optimizer.lr, schedule"),
        ("recipe/load.py", "read, extends, overrides"),
        ("recipe/schema.py", "checked, defaults"),
        ("recipe/schedules.py", "a function of the step"),
        ("recipe/make_plan.py", "a number for each step"),
        ("training/update/", "times a group's factor"),
        ("torch.optim", "one step"),
    ),
    "trip-image": (
        ("bytes on a disk", "or in a shard, or on a network"),
        ("data/sources/", "name, bytes, target"),
        ("bundle/images/", "upright uint8 [H, W, 3]"),
        ("data/augment/", "from seed, epoch, position"),
        ("data/loading/", "uint8 [N, 3, H, W]"),
        ("the device", "normalised, mixed"),
        ("tasks/", "logits, loss"),
    ),
    "trip-bundle": (
        ("the best weights", "training/pack.py"),
        ("deploy/onnx_export.py", "normalisation inside"),
        ("deploy/parity.py", "asked beside torch"),
        ("bundle/write.py", "checksums, renamed"),
        ("bundle/predictor.py", "verified, run once"),
        ("serve/", "bytes, preprocessed, logits"),
        ("an HTTP answer", "bundle/tasks/ says it"),
    ),
    "trip-int8": (
        ("a float bundle", "model.onnx"),
        ("training images", "ranges of each tensor"),
        ("other images", "choose rule and float layers"),
        ("deploy/qdq.py", "integers with scales"),
        ("optimised graph", "every layer INT8?"),
        ("validation images", "points lost, interval"),
        ("an INT8 bundle", "or an error"),
    ),
    "trip-export": (
        ("a run or a bundle", "torch or ONNX"),
        ("deploy/formats/", "files of the format"),
        ("its own runtime", "opened"),
        ("real images", "one preprocessing"),
        ("deploy/parity.py", "close enough?"),
        ("bundle.json", "the proof, checksums"),
        ("--out", "renamed to there"),
    ),
}
FLOORS = (
    ("cli", "one thin file for each group of commands"),
    ("jobs", "make, train, export, quantize, distil, predict"),
    ("analyze", "evaluate, compare, report, explain, prove"),
    ("training", "run, trainer, checkpoints, one step"),
    ("deploy", "ONNX, INT8, formats, parity"),
    ("tasks", "losses, mixing, teachers"),
    ("models   data   serve", "networks; sources and augmentation; the server"),
    ("recipe   bundle   launch", "plan; preprocessing and runtimes; processes"),
    ("errors, randomness, storage, words ...", "what all share"),
)
STYLE = (
    "rect{fill:#eef2fb;stroke:#5b6b95;stroke-width:1.2}text{font-family:sans-serif;fill:#1c2540;text-anchor:middle}"
    ".name{font-size:13px;font-weight:600}.note{font-size:11.5px}path{stroke:#8a93a8;stroke-width:1.6;fill:none}"
)


def pictures() -> dict[str, str]:
    """The text of each picture by the name of its file."""
    return {f"{name}.svg": chain(boxes) for name, boxes in TRIPS.items()} | {"floors.svg": floors()}


def chain(boxes: Sequence[tuple[str, str]]) -> str:
    """Boxes from left to right, row by row, each with an arrow to the next."""
    parts: list[str] = []
    places: list[tuple[int, int]] = []
    for number, (name, note) in enumerate(boxes):
        row, column = divmod(number, ROW)
        x, y = 4 + column * (WIDTH + GAP), 4 + row * (HEIGHT + GAP)
        places.append((x, y))
        parts.append(_box((x, y, WIDTH), name, note))
    for (x, y), (next_x, next_y) in pairwise(places):
        if y == next_y:
            parts.append(f'<path marker-end="url(#a)" d="M{x + WIDTH} {y + HEIGHT / 2:g} H{next_x - 2}"/>')
            continue
        left, middle = next_x + WIDTH / 2, y + HEIGHT + GAP / 2
        bend = f"M{x + WIDTH / 2:g} {y + HEIGHT} V{middle:g} H{left:g} V{next_y - 2}"
        parts.append(f'<path marker-end="url(#a)" d="{bend}"/>')
    rows = -(-len(boxes) // ROW)
    return _svg(8 + ROW * WIDTH + (ROW - 1) * GAP, 8 + rows * HEIGHT + (rows - 1) * GAP, parts, boxes)


def floors() -> str:
    """The packages, one floor above the other."""
    parts = [_box((4, 4 + row * HEIGHT, 560), name, note) for row, (name, note) in enumerate(FLOORS)]
    return _svg(568, 8 + len(FLOORS) * HEIGHT, parts, FLOORS)


def _box(place: tuple[int, int, int], name: str, note: str) -> str:
    x, y, width = place
    middle = x + width / 2
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{HEIGHT}" rx="7"/>'
        f'<text class="name" x="{middle:g}" y="{y + 24}">{escape(name)}</text>'
        f'<text class="note" x="{middle:g}" y="{y + 42}">{escape(note)}</text>'
    )


def _svg(width: int, height: int, parts: list[str], boxes: Sequence[tuple[str, str]]) -> str:
    said = "; ".join(f"{name}: {note}" for name, note in boxes)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img">'
    arrow = '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    arrow += '<path d="M0 0L8 4L0 8z" style="fill:#8a93a8;stroke:none"/></marker></defs>'
    return "\n".join([head, f"<title>{escape(said)}</title><style>{STYLE}</style>{arrow}", *parts, "</svg>\n"])


if __name__ == "__main__":
    for name, text in pictures().items():
        (FOLDER / name).write_text(text, "utf-8")
