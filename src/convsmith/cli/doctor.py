"""convsmith doctor."""

from __future__ import annotations

from convsmith.cli.options import AsJson


def doctor(as_json: AsJson = False) -> None:
    """Say what is installed here, what the machine has, and what is slow or missing: one screen for a bug report.

    Example: convsmith doctor
    """
    import json
    from dataclasses import asdict

    from convsmith.analyze.doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps(asdict(findings), indent=2))
    else:
        findings.print()
