"""The parts that convsmith's pages share: choosing an image, showing an answer, and how both look.

They are ES modules and a style sheet beside this file, for the server's own page and for that of a web export.
"""

from __future__ import annotations

import re
from pathlib import Path

PARTS = Path(__file__).parent
"""The folder of the modules and of `style.css`."""

_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "([^"]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class) (\w+))", re.MULTILINE)


def joined(entry: Path) -> str:
    """One classic script of an ES module and all that it imports, which a page opened from a disk may load.

    Browsers load no modules by `file:`. Each module becomes a function of its own, with its comments, in the order in
    which they need one another. They import with `import { names } from "./file.js";` on one line, not in a circle.
    """
    numbers: dict[Path, int] = {}
    parts: list[str] = []

    def add(file: Path) -> int:
        if file in numbers:
            return numbers[file]
        text = file.read_text("utf-8")
        needed = {path: add((file.parent / path).resolve()) for _, path in _IMPORT.findall(text)}
        body = _IMPORT.sub(lambda found: f"const {{ {found[1]} }} = module_{needed[found[2]]};\n", text)
        names = ", ".join(_EXPORT.findall(text))
        numbers[file] = len(parts)
        body = f"{_EXPORT.sub('', body)}return {{ {names} }};\n"
        parts.append(f"// {file.name}\nconst module_{len(parts)} = (() => {{\n{body}}})();\n")
        return numbers[file]

    add(entry.resolve())
    return '"use strict";\n(() => {\n' + "\n".join(parts) + "})();\n"
