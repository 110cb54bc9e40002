"""convsmith doctor."""

from __future__ import annotations

from convsmith.cli.options import AsJson
from convsmith.machine import runs_folder

_WIDTH = 100  # of a bug report


def doctor(as_json: AsJson = False) -> None:
    """Say what is installed here, what the machine has, and what is slow or missing: one screen for a bug report.

    Example: convsmith doctor
    """
    import json
    from dataclasses import asdict
    from textwrap import fill

    from convsmith.analyze.doctor import examine
    from convsmith.cli.text import for_terminal

    findings = examine(runs=runs_folder())
    if as_json:
        print(json.dumps(asdict(findings), indent=2))
        return
    width = max(map(len, findings.facts))
    for name, fact in findings.facts.items():
        print(fill(f"{name:<{width}}  {for_terminal(fact)}", _WIDTH, subsequent_indent=" " * (width + 2)))
    print("\nslow or missing here:" if findings.advice else "\nnothing is slow or missing here")
    for line in findings.advice:
        print(fill(f"- {for_terminal(line)}", _WIDTH, subsequent_indent="  "))
