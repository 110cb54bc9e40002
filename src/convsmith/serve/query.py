"""Parameters in the address of a request, behind the question mark: those that its route declares, once."""

from __future__ import annotations

from collections.abc import Collection

from fastapi import Request

from convsmith.errors import did_you_mean
from convsmith.serve.problems import Problem


def query_names(request: Request) -> Collection[str]:
    """The parameters that the request's route declares."""
    return [field.alias for field in request.scope["route"].dependant.query_params]


async def refuse_unknown_query(request: Request) -> None:
    """A dependency of every route; a `Problem` of status 422 for what the route would ignore."""
    names, given = query_names(request), [name for name, _ in request.query_params.multi_items()]
    takes = f"{request.scope['path']} takes {' and '.join(f'`{name}`' for name in names) or 'none'}"
    for name in given:
        if name not in names:
            raise Problem(422, f"there is no query parameter `{name}`{did_you_mean(name, names)}", takes)
        if given.count(name) > 1:
            raise Problem(422, f"the query parameter `{name}` is given {given.count(name)} times", "one value counts")
