"""`GET /`: a page on which a person asks the models with a picture; its files are in `convsmith.serve.page`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel

from convsmith.bundle.format import read_manifest
from convsmith.errors import ConvsmithError
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
    """A model as the page shows it: what it is, the colours of its classes, and whether it shows where it looks.

    One that made room for others in memory, which its first answer loads again, has no device and no map until then.
    """

    name: str
    version: str
    architecture: str
    labels: int
    device: str | None
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
        """The models that answer, of each its usual version first."""
        service.check_ready()
        found = [model for model in service.models if model.usable]
        usual = {model.name: service.models.find(model.name) for model in found}
        order = list(usual)
        found.sort(key=lambda it: (order.index(it.name), it is not usual[it.name]))
        shown = await service.aside(lambda: [_shown(service, it) for it in found])
        return [it for it in shown if it]

    @app.get("/page/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        """A script or the style sheet of the page."""
        if name not in _FILES:
            raise Problem(404, f"the page has no file `{name}`", "", "Open / in a browser.")
        return FileResponse(_FILES[name], media_type=_KINDS[_FILES[name].suffix])


def _shown(service: Service, model: Model) -> PageModel | None:
    bundle = model.bundle
    try:
        manifest = bundle.manifest if bundle else read_manifest(model.path)
    except ConvsmithError:  # its folder has gone meanwhile
        return None
    device = bundle.place.device if bundle and bundle.place else "cpu"
    return PageModel(
        name=model.name,
        version=model.version,
        architecture=str(manifest.model.get("name")),
        labels=len(manifest.labels),
        device=device if bundle else None,
        colours=manifest.colours,
        cam=bundle is not None and service.cams.of(bundle) is not None,
    )
