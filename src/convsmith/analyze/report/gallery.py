"""The images that the model was most wrong about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convsmith.analyze.house_page import img, text
from convsmith.analyze.report.facts import JudgedFacts, WorstImage
from convsmith.errors import counted
from convsmith.words import figure_text, is_count, metric_name


def gallery(judged: JudgedFacts, told: str) -> str:
    """The worst images with what is true and what was said, and a legend of the colours.

    Args:
        judged: by some images.
        told: what images these are, in words.
    """
    if not judged.worst:
        return ""
    kind = "grid broad" if judged.legend else "grid"
    legend = "".join(
        f'<li><span class="swatch" style="background: {colour}"></span>{text(label)}</li>'
        for label, colour in judged.legend
    )
    return (
        f"<p>The highest loss first, of {counted(judged.evaluation.images, 'image')} {text(told)}.</p>\n"
        + (f'<ul class="legend" aria-label="Colours of the classes">{legend}</ul>\n' if legend else "")
        + f'<div class="{kind}">{"".join(map(_shown, judged.worst))}</div>\n'
    )


def _shown(worst: WorstImage) -> str:
    several = " several" if len(worst.pictures) > 1 else ""
    pictures = ""
    for it in worst.pictures:
        caption = f"<small>{text(it.caption)}</small>" if several else ""
        pictures += f"<span>{img(it.url, f'{it.caption}: {worst.name}')}{caption}</span>"
    said = "".join(
        f"<div><dt>{text(metric_name(key))}</dt><dd>{text(words)}</dd></div>" for key, words in _words(worst)
    )
    return (
        f'<figure class="card worst{several}"><div class="pictures">{pictures}</div>'
        f"{_near(worst)}<figcaption><dl>{said}</dl><small>{text(worst.name)}</small></figcaption></figure>"
    )


def _near(worst: WorstImage) -> str:
    """The training images most like it."""
    shown = "".join(
        f"<span>{img(it.url, f'training image, {it.caption}')}<small>{text(it.caption)}</small></span>"
        for it in worst.nearest
    )
    return f'<small>most like these training images</small><div class="near">{shown}</div>' if shown else ""


def _words(worst: WorstImage) -> list[tuple[str, str]]:
    return [(key, said) for key, value in _said(worst.said).items() if (said := _in_words(key, value))]


def _said(said: Mapping[str, Any]) -> dict[str, Any]:
    """The words of a row, but for what all of the worst have in common."""
    return {key: value for key, value in said.items() if key != "right"}


def _in_words(key: str, value: Any) -> str:
    if isinstance(value, float) or is_count(key):
        return figure_text(key, value)
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)
