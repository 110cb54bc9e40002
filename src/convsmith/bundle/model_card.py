"""The model card of a bundle: `README.md`, as the Hugging Face Hub shows it. Needs no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from convsmith.bundle.format import MANIFEST, PAGE, Manifest
from convsmith.bundle.task import find_task
from convsmith.words import for_terminal, metric_name

CARD = "README.md"

_MOST_LABELS = 100
_SERVER = """\
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

class Isolated(SimpleHTTPRequestHandler):
    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

ThreadingHTTPServer(("127.0.0.1", 8000), Isolated).serve_forever()
"""


def model_card(manifest: Manifest) -> str:
    """Markdown below a header in YAML: what the model does, was measured at, was trained by, and does not do.

    All of it is what the manifest says. The licence is that of the weights that the training began with, if it is
    known; else there is none, since who publishes a model chooses it.
    """
    header = yaml.safe_dump(_header(manifest), sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n" + "\n".join(_sections(manifest)) + "\n"


def _header(manifest: Manifest) -> dict[str, Any]:
    task, name = find_task(manifest.task), str(manifest.model.get("name"))
    weights = _weights(manifest)
    results = [
        {
            "task": {"type": task.hub_task},
            "dataset": {"name": "validation images", "type": "custom"},
            "metrics": [
                {"type": metric, "name": metric_name(metric), "value": value}
                for metric, value in manifest.metrics.items()
            ],
        }
    ]
    return {
        **({"license": licence.lower()} if (licence := weights.get("licence")) else {}),
        "library_name": "convsmith",
        "pipeline_tag": task.hub_task,
        "tags": ["convsmith", manifest.format, name],
        **({"model-index": [{"name": name, "results": results}]} if manifest.metrics else {}),
    }


def _sections(manifest: Manifest) -> Iterator[str]:
    name, classes = str(manifest.model.get("name")), len(manifest.labels)
    params = manifest.model.get("params")
    size = f", {params / 1e6:.1f} million parameters" if isinstance(params, int) else ""
    yield f"# {_code(name)}\n"
    yield f"{manifest.task.capitalize()} of {classes} classes{size}, in the format {manifest.format}.\n"
    yield "## Use\n"
    yield from _indented(
        [
            "# pip install convsmith",
            "import convsmith as cs",
            'bundle = cs.load("PATH")  # this folder, or hf:ORG/NAME',
            'print(bundle.predict("image.jpg"))',
        ]
    )
    yield f"\nHow an image becomes the model's input is in `{MANIFEST}`, and done by the library: decode, resize,"
    yield "crop, normalise. `convsmith serve PATH` answers over HTTP.\n"
    if PAGE in manifest.files:
        yield from _hosted()
    yield "## Figures\n"
    yield from _figures(manifest.metrics)
    yield from _calibrated(manifest)
    yield "\n## Training\n"
    yield from _training(manifest)
    yield "\n## Proof\n"
    yield "The exported file was compared with the trained model on real images:\n"
    yield from _indented(json.dumps(manifest.parity, indent=2, ensure_ascii=False).splitlines())
    yield "\n## Limits\n"
    yield "- The figures are of images from the same source as those it learned from; others may be harder."
    yield f"- It knows these {classes} classes only: {_of_others(manifest)}."
    yield "- What its training images lack or show too rarely, it has not learned. They are not part of this folder."
    yield "\n## Classes\n"
    yield from _indented(json.dumps(label, ensure_ascii=False) for label in manifest.labels[:_MOST_LABELS])
    if classes > _MOST_LABELS:
        yield f"\nand {classes - _MOST_LABELS:,} more, in `{MANIFEST}`."


def _hosted() -> Iterator[str]:
    """How the page of a bundle is opened and hosted."""
    yield "## The page\n"
    yield f"Open `{PAGE}` by a double click, or put this folder on any static host. The model runs in the browser;"
    yield "no image leaves the machine. What is opened from a disk loads `offline.js`, which holds model and runtime"
    yield "once more, because browsers fetch nothing there; a host may leave that file out.\n"
    yield "One thread runs the model, and several where the host sends two headers, as this server does here:\n"
    yield from _indented(_SERVER.splitlines())
    yield "\nThe page sees in PNG files what the library sees, to the last bit. What the browser's JPEG decoder"
    yield "changes, and version and licence of onnxruntime-web, are below, under Proof.\n"


def _figures(metrics: Mapping[str, float]) -> Iterator[str]:
    if not metrics:
        yield "None were measured."
        return
    yield "Measured on the validation images:\n"
    yield "| figure | value |\n|---|---|"
    for name, value in metrics.items():
        yield f"| {metric_name(name)} | {value:.4f} |"


def _calibrated(manifest: Manifest) -> Iterator[str]:
    """The figures of a calibration, and the answers that it adds."""
    if (found := manifest.calibration) is None:
        return
    measured = [part.get("ece") for when in ("before", "after") if isinstance(part := found.measured.get(when), dict)]
    errors = [it for it in measured if isinstance(it, float)]
    told = (
        ": calibration error {:.4f} before and {:.4f} after, on images kept back".format(*errors) if errors[1:] else ""
    )
    yield f"\nProbabilities are calibrated{told}."
    if found.sets:
        yield f"Answers have sets, asked to hold the true class in {found.sets.coverage:.1%} of the images."
    if found.unknown:
        yield f"Answers are `unknown` where no probability reaches {found.unknown.threshold:.4f}."


def _of_others(manifest: Manifest) -> str:
    """The answer to that which is of none of the classes."""
    task = find_task(manifest.task)
    if not task.exclusive:
        return "it says nothing of anything else in an image"
    what = f"{'an image' if task.one_size else 'a pixel'} of anything else"
    if manifest.calibration and manifest.calibration.unknown:
        return f"{what} may be `unknown`, or get one of them all the same"
    return f"{what} gets one of them all the same"


def _training(manifest: Manifest) -> Iterator[str]:
    recipe, weights = manifest.recipe, _weights(manifest)
    for key in ("description", "source"):
        if isinstance(recipe.get(key), str):
            yield f"- {key}: {_code(recipe[key])}"
    if weights:
        licence = weights.get("licence") or "not stated"
        yield f"- began with the weights {_code(str(weights.get('name')))}, whose licence is {_code(str(licence))}"
    else:
        yield "- began with random weights, or with a file of the maker's"
    if manifest.data_digest:
        yield f"- the digest of the data: `{manifest.data_digest}`"
    made = ", ".join(f"{package} {version}" for package, version in manifest.created_with.items())
    yield f"- made with {_code(made)}"
    yield f"- the whole recipe is in `{MANIFEST}`, under `recipe`"


def _weights(manifest: Manifest) -> Mapping[str, Any]:
    found = manifest.model.get("weights")
    return found if isinstance(found, dict) else {}


def _indented(lines: Iterable[str]) -> Iterator[str]:
    """A block of code that no text can end."""
    return (f"    {for_terminal(line)}" for line in lines)


def _code(text: str) -> str:
    """Any text in a line of Markdown, with nothing in it taken for Markdown or HTML."""
    return f"`{for_terminal(text).replace('`', chr(39))}`"
