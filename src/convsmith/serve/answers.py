"""Predictions as HTTP responses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fastapi import Response
from fastapi.responses import JSONResponse

from convsmith.bundle.task import Task
from convsmith.serve.asked import Asked
from convsmith.serve.problems import Problem

JSON = "application/json"


def renderer(task: Task, accept: str, top: int | None, *, named: bool = False) -> Callable[[Asked], Response]:
    """A function that makes a response of an answer.

    Args:
        task: of the model; where its answers are not drawn, they are JSON.
        accept: the request's header of that name, by which a mask is JSON, a PNG of the classes, or a JPEG of the
            image with the classes' colours over it.
        top: how many classes are listed; None lists 5 of a classifier, and all that a mask shows.
        named: whether it is one of several answers, which are JSON with the name of each image.

    Raises:
        Problem: 406 for a mask in no form that there is, 422 for the top of a picture.
    """
    offered = (JSON,) if named else (JSON, *task.pictures)
    kind = accepted(accept, offered) if task.pictures else JSON
    if top is not None and kind != JSON:
        raise Problem(422, "`top` is not for pictures", f"the answer is {kind}, which shows all classes", "Omit it.")

    def render(asked: Asked) -> Response:
        assert asked.answer is not None
        assert asked.pixels is not None
        timing = {"Server-Timing": ", ".join(f"{stage};dur={1000 * it:.1f}" for stage, it in asked.seconds.items())}
        if kind == JSON:
            name = {"name": asked.name} if named else {}
            return JSONResponse({**name, **task.to_json(asked.answer, top)}, headers=timing)
        ran = {f"X-{name.title()}": value for name, value in asked.answer.meta.items()}
        return Response(task.draw(asked.answer, asked.pixels, kind), media_type=kind, headers={**ran, **timing})

    return render


def accepted(accept: str, offered: Sequence[str]) -> str:
    """Choose among the media types offered, in order of preference, the one that an Accept header likes best.

    Raises:
        Problem: 406 if it likes none.
    """
    likes: dict[str, float] = {}
    for entry in accept.lower().split(",") if accept else ["*/*"]:
        name, *parameters = (part.strip() for part in entry.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            likes[name] = min(1.0, max(0.0, float(quality)))  # 0 where it is `nan`
        except ValueError:
            likes[name] = 0.0

    def liking(kind: str) -> float:
        return next((likes[name] for name in (kind, f"{kind.partition('/')[0]}/*", "*/*") if name in likes), 0.0)

    best = max(offered, key=liking)
    if liking(best) <= 0:
        raise Problem(406, "no such answer", f"Accept is `{accept}`", f"Ask for {', '.join(offered)}.")
    return best
