"""Modules of the page, run by node."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from convsmith.pages import joined

WEB = Path(__file__).parents[3] / "src/convsmith/deploy/web"


def run_in_node(folder: Path, imports: dict[str, str], body: str, given: Any) -> Any:
    """What an asynchronous body, which may use the imported names and `given`, returns."""
    if shutil.which("node") is None:
        pytest.skip("node is not installed here")
    head = "".join(f'import {{ {names} }} from "{WEB / file}";\n' for file, names in imports.items())
    (folder / "given.json").write_text(json.dumps(given))
    (folder / "entry.js").write_text(
        f"{head}const fs = require('fs');\nconst given = JSON.parse(fs.readFileSync('given.json'));\n"
        f"(async () => {{\n{body}\n}})().then((it) => fs.writeFileSync('said.json', JSON.stringify(it)));\n"
    )
    (folder / "joined.cjs").write_text(joined(folder / "entry.js"))
    done = subprocess.run(["node", "joined.cjs"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "said.json").read_text())
