"""The HTTP interface as an ASGI application; its addresses are in `convsmith.serve.routes`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import Depends, FastAPI

from convsmith.bundle.open_runtime import check_place
from convsmith.bundle.predictor import Bundle, load
from convsmith.errors import ConvsmithError
from convsmith.serve.browsers import check_origins
from convsmith.serve.deadline import Deadline, takes_timeout
from convsmith.serve.exchange import Exchange
from convsmith.serve.grpc_service import serving_grpc
from convsmith.serve.guard import Guard, guards_of
from convsmith.serve.models import Models
from convsmith.serve.outside import Application
from convsmith.serve.places import NAME, Given, Key, Places, Watched
from convsmith.serve.problems import ErrorBody, answer_problems_as_json
from convsmith.serve.proxies import check_root_path
from convsmith.serve.query import refuse_unknown_query
from convsmith.serve.routes import add_routes
from convsmith.serve.service import Service, share_cores
from convsmith.serve.settings import Settings


def create_app(
    bundles: Path | Mapping[str, Path] | None = None, settings: Settings | None = None, **changes: Any
) -> FastAPI:
    """An ASGI application that serves bundles; they load while it already answers `/healthz`.

    Args:
        bundles: the bundle's folder; of several, each under its `NAME` or `NAME/VERSION`, the first of which is meant
            where a request names none; None where `settings.watch` is a folder that holds them.
        settings: limits and places.
        changes: some of the `Settings` by name, as `workers=1`, in place of those.

    Raises:
        ConvsmithError: workers and threads need more cores than there are, so many pixels are never decoded, no
            device or runtime is called so, or no bundle, or a wrong name, is given; or the tokens, the rate, an
            origin or the root path cannot be.
    """
    settings = replace(settings or Settings(), **changes)
    check_place(settings.runtime, settings.device)
    check_origins(settings.cors_origins)
    check_root_path(settings.root_path)
    tokens, rates = guards_of(settings)
    workers, threads = share_cores(settings.workers, settings.threads)

    def open_bundle(path: Path) -> Bundle:
        bundle: Bundle = load(path, threads, settings.runtime, settings.device, threads_alone=workers * threads)
        service.add(bundle)
        return bundle

    places, defaults = _places(bundles, settings), tuple(Key.parse(text) for text in settings.default)
    models = Models(open_bundle, places, settings.max_models, defaults)
    models.may_change = places.may_change or settings.control
    service = Service(models, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = service.start_loading()
        async with serving_grpc(service, tokens, rates, app.recorded):
            yield
        service.close()
        await loading
        await service.finish()

    app = Application(
        service,
        title="convsmith",
        version=version("convsmith"),
        lifespan=lifespan,
        servers=[{"url": settings.root_path}] if settings.root_path else None,
        dependencies=[Depends(refuse_unknown_query), Depends(takes_timeout)],
        responses={504: {"model": ErrorBody, "description": "it took longer than X-Request-Timeout says"}},
        redirect_slashes=False,  # a redirect would lead to whatever the request's Host says
        openapi_url=None,  # FastAPI's own route would take any query, and its pages come from another host
    )
    app.add_middleware(Deadline)
    app.add_middleware(Guard, tokens=tokens, rates=rates)
    app.add_middleware(Exchange, service=service)
    answer_problems_as_json(app)
    add_routes(app, service)
    return app


def _places(bundles: Path | Mapping[str, Path] | None, settings: Settings) -> Places:
    if (settings.watch is None) == (not bundles):
        why = "a server has either bundles or a folder to watch, and this one has "
        why += "both" if bundles else "neither"
        raise ConvsmithError("it is not clear what to serve", why, "Name a bundle, or give --watch FOLDER.")
    if settings.watch is not None:
        return Watched(settings.watch)
    given = Given(bundles if isinstance(bundles, Mapping) else {NAME: bundles} if bundles else {})
    for text in settings.default:
        if Key.parse(text) not in given.find():
            there = ", ".join("/".join(key) for key in given.find())
            raise ConvsmithError(f"--default {text} is not served", f"there is {there}")
    return given
