"""`GET /`: a page on which a person asks the models with a picture; its files are in `convsmith.serve.page`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel

from convsmith.bundle.predictor import Bundle
from convsmith.pages import PARTS
from convsmith.serve.models import Model
from convsmith.serve.problems import ErrorBody, Problem
from convsmith.serve.service import Service

_FOLDER = Path(__file__).parents[1] / "page"
_KINDS = {".css": "text/css", ".js": "text/javascript"}
_FILES = {file.name: file for folder in (PARTS, _FOLDER) for file in folder.iterdir() if file.suffix in _KINDS}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; media-src blob: mediastream:"
    "; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class PageModel(BaseModel):
    """A model as the page shows it: what it is, the colours of its classes, and whether it shows where it looks."""

    name: str
    version: str
    architecture: str
    labels: int
    device: str
    colours: Sequence[Sequence[int]] | None
    cam: bool


def add(app: FastAPI, service: Service) -> None:
    """Let `app` show its page."""

    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        """The page."""
        return FileResponse(_FOLDER / "index.html", headers={"Content-Security-Policy": _POLICY})

    @app.get("/page/models", responses={503: {"model": ErrorBody, "description": "not ready; see Retry-After"}})
    async def models() -> list[PageModel]:
        """The models in memory, of each its usual version first."""
        service.check_ready()
        found = [(model, model.bundle) for model in service.models if model.bundle]
        usual = {model.name: service.models.find(model.name) for model, _ in found}
        order = list(usual)
        found.sort(key=lambda it: (order.index(it[0].name), it[0] is not usual[it[0].name]))
        return await service.aside(lambda: [_shown(service, *it) for it in found])

    @app.get("/page/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        """A script or the style sheet of the page."""
        if name not in _FILES:
            raise Problem(404, f"the page has no file `{name}`", "", "Open / in a browser.")
        return FileResponse(_FILES[name], media_type=_KINDS[_FILES[name].suffix])


def _shown(service: Service, model: Model, bundle: Bundle) -> PageModel:
    return PageModel(
        name=model.name,
        version=model.version,
        architecture=str(bundle.manifest.model.get("name")),
        labels=len(bundle.labels),
        device=bundle.place.device if bundle.place else "cpu",
        colours=bundle.manifest.colours,
        cam=service.cams.of(bundle) is not None,
    )
