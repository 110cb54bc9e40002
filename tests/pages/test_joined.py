from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from convsmith.pages import PARTS, joined


def run_in_node(script: str) -> str:
    if shutil.which("node") is None:
        pytest.skip("node is not installed here")
    done = subprocess.run(["node", "-"], input=script, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_modules(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        (folder / f"{name}.js").write_text(text)
    return folder / "entry.js"


def test_modules_run_once_each_and_before_those_that_need_them(tmp_path: Path) -> None:
    entry = write_modules(
        tmp_path,
        entry='import { two } from "./two.js";\nimport { one } from "./one.js";\nconsole.log(one(), two());\n',
        two='import { one } from "./one.js";\nexport function two() {\n  return one() + 1;\n}\n',
        one='console.log("once");\nexport const one = () => 1;\n',
    )
    assert run_in_node(joined(entry)) == "once\n1 2\n"


def test_names_that_a_module_keeps_to_itself_disturb_no_other(tmp_path: Path) -> None:
    entry = write_modules(
        tmp_path,
        entry='import { other } from "./other.js";\nconst own = () => "mine";\nconsole.log(own(), other());\n',
        other='function own() {\n  return "other";\n}\nexport function other() {\n  return own();\n}\n',
    )
    assert run_in_node(joined(entry)) == "mine other\n"


@pytest.mark.parametrize("part", sorted(PARTS.glob("*.js")), ids=lambda it: it.name)
def test_no_import_or_export_is_left_of_a_shared_part(part: Path) -> None:
    script = joined(part)
    assert not [line for line in script.splitlines() if line.startswith(("import ", "export "))]
    run_in_node(script)
