"""Certificates, checked before a server starts."""

from __future__ import annotations

import ssl
from pathlib import Path

from convsmith.errors import ConvsmithError


def check_certificate(certfile: Path | None, keyfile: Path | None) -> None:
    """Raise a ConvsmithError unless the files hold a certificate and its key, or none is named.

    Args:
        certfile: PEM of the certificate, and of those between it and its root.
        keyfile: PEM of its key; None: that is in `certfile`.
    """
    if certfile is None:
        if keyfile is not None:
            raise ConvsmithError("--keyfile needs --certfile", "a key alone proves nothing", "Name both.")
        return
    for path in (certfile, keyfile):
        try:
            if path is not None:
                path.read_bytes()
        except OSError as error:
            raise ConvsmithError(f"cannot read {path}", error.strerror or str(error)) from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certfile, keyfile, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        why = getattr(error, "reason", None) or str(error)
        named = f"{certfile} and {keyfile}" if keyfile else str(certfile)
        raise ConvsmithError(
            f"{named} cannot be used for TLS",
            f"OpenSSL says {why}",
            "Give the certificate and its own key as PEM, the key without a password.",
        ) from error


def _no_password() -> str:
    """OpenSSL would else ask for it on the terminal."""
    return ""
