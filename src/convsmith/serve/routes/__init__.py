"""The addresses that a server answers, one file for each kind, with a function `add(app, service)`."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from fastapi import FastAPI

from convsmith.serve.service import Service


def add_routes(app: FastAPI, service: Service) -> None:
    """Let `app` answer all addresses that there are."""
    for file in sorted(file.name for file in pkgutil.iter_modules(__path__)):
        import_module(f"{__name__}.{file}").add(app, service)
