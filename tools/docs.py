"""Builds the site of the documentation: docs/, the changelog, and what `tools/reference.py` writes.

    .venv/bin/python tools/docs.py

It lies in site/VERSION/ afterwards, beside the versions that were built before; site/index.html leads to the newest.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

from reference import pages

from convsmith import __version__

ROOT = Path(__file__).parents[1]
SOURCE, SITE = ROOT / "build" / "docs", ROOT / "site"
LEAD = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={0}/"><a href="{0}/">{0}</a>\n'


def gather() -> None:
    """Put all pages into `SOURCE`."""
    shutil.rmtree(SOURCE, ignore_errors=True)
    shutil.copytree(ROOT / "docs", SOURCE)
    shutil.copy(ROOT / "CHANGELOG.md", SOURCE / "changelog.md")
    (SOURCE / "reference").mkdir(exist_ok=True)
    for name, text in pages().items():
        (SOURCE / "reference" / name).write_text(text, "utf-8")


def build() -> None:
    """Make the site of this version."""
    subprocess.run([sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=ROOT, check=True)
    shutil.rmtree(SITE / __version__, ignore_errors=True)
    (SITE / "latest").rename(SITE / __version__)
    found = sorted((place.parent.name for place in SITE.glob("*/index.html")), reverse=True)
    versions = [{"version": it, "title": it, "aliases": ["latest"] if it == __version__ else []} for it in found]
    (SITE / "versions.json").write_text(json.dumps(versions), "utf-8")
    (SITE / "index.html").write_text(LEAD.format(__version__), "utf-8")


if __name__ == "__main__":
    gather()
    build()
