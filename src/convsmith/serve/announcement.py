"""The lines that a server prints once it is ready."""

from __future__ import annotations

from convsmith.bundle.predictor import Bundle
from convsmith.errors import counted
from convsmith.serve.places import NAME
from convsmith.serve.service import Service


def announcement(service: Service, host: str, port: int) -> str:
    """Words on where it serves which models, how these are asked, and how each runs."""
    settings = service.settings
    models = [(model, model.bundle) for model in service.models if model.bundle]
    what = " and ".join(f"{bundle.path} ({len(bundle.labels)} classes)" for _, bundle in models)
    if settings.watch:
        what = f"{settings.watch} ({counted(len(models), 'model')} now)"
    scheme = "https" if settings.certfile else "http"
    token = '-H "Authorization: Bearer $TOKEN" ' if settings.token_file else ""
    near = url({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host), port, scheme)
    lines = [
        f"Serving {what} at {url(host, port, scheme)}, until Ctrl-C. Try:",
        f"  curl {token}-F image=@photo.jpg {near}/predict",
    ]
    if service.grpc_port:
        lines.append(f"gRPC is answered at port {service.grpc_port}.")
    for model, bundle in models:
        named = "The model" if model.name == NAME else f"{model.name} {model.version}"
        place = f" on {bundle.place.device} by {bundle.place.runtime}" if bundle.place else ""
        why = service.lanes.batches(bundle).why
        lines.append(f"{named} runs{place}{why and '; '}{why}.{_without_drift(bundle)}")
    return "\n".join(lines)


def _without_drift(bundle: Bundle) -> str:
    """A sentence about a bundle that was made before there were references, or with too few images."""
    known = bundle.manifest.reference or bundle.manifest.distance
    return "" if known else " Its bundle has no reference, so drift is not measured."


def url(host: str, port: int, scheme: str = "http") -> str:
    """An address as people write it."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
