"""The bundle beside this file as a Ray Serve application of two replicas: `serve run deployment:app`."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from ray import serve

from convsmith.serve.app import create_app

BUNDLE = Path(__file__).parent.resolve()


def application() -> FastAPI:
    """The application of each replica: all addresses of `convsmith serve`."""
    return create_app(BUNDLE, workers=1, threads=1)


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 1})
@serve.ingress(application)
class Replica:
    """Answers requests; Ray puts the application around it."""


app = Replica.bind()  # type: ignore[attr-defined]
