"""TLS, and proxies in front."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from convsmith.errors import ConvsmithError
from convsmith.serve import server
from convsmith.serve.app import create_app
from convsmith.serve.proxies import check_proxies, check_root_path
from convsmith.serve.request_record import RequestRecord
from convsmith.serve.tls import check_certificate
from tests.colours import picture
from tests.serve.running import PATIENCE, connect, served, served_by_command, wait_until

if not shutil.which("openssl"):
    pytest.skip("there is no openssl to make certificates with", allow_module_level=True)


def make_certificate(folder: Path, *options: str) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2"]
    command += [
        "-keyout",
        str(key),
        "-out",
        str(cert),
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
    ]
    subprocess.run([*command, *(options or ("-nodes",))], check=True, capture_output=True)
    return cert, key


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def secured(colour_bundle: Path, certificate: tuple[Path, Path]) -> Iterator[str]:
    cert, key = certificate
    with served(create_app(colour_bundle, certfile=cert, keyfile=key)) as (_, url):
        yield url.replace("http:", "https:")


def trusting(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate[0]))


def test_images_are_answered_over_tls(secured: str, certificate: tuple[Path, Path]) -> None:
    answer = httpx.post(f"{secured}/predict", files={"image": picture("red")}, verify=trusting(certificate))
    assert answer.json()["label"] == "red"


def test_who_speaks_no_tls_is_not_answered(secured: str) -> None:
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{secured.replace('https:', 'http:')}/healthz")
    assert httpx.get(f"{secured}/healthz", verify=False).status_code == 200


def test_old_tls_is_refused(secured: str) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with connect(secured) as client, pytest.raises(ssl.SSLError):
        old.wrap_socket(client)


def test_who_does_not_begin_tls_is_sent_away(
    colour_bundle: Path, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_SECONDS", 0.3)
    cert, key = certificate
    with served(create_app(colour_bundle, certfile=cert, keyfile=key)) as (_, url), connect(url) as client:
        assert client.recv(1) == b""


def test_the_command_says_https(colour_bundle: Path, certificate: tuple[Path, Path]) -> None:
    options = ("--certfile", str(certificate[0]), "--keyfile", str(certificate[1]))
    with served_by_command(colour_bundle, *options) as (process, url):
        assert url.startswith("https://")
        assert process.stdout
        assert process.stdout.readline() == f"  curl -F image=@photo.jpg {url}/predict\n"
        assert httpx.get(f"{url}/healthz", verify=trusting(certificate)).status_code == 200


def test_a_certificate_may_have_its_key_in_its_file(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "both.pem").write_bytes(certificate[1].read_bytes() + certificate[0].read_bytes())
    check_certificate(tmp_path / "both.pem", None)


def test_a_certificate_without_its_key_is_an_error(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    _, other = make_certificate(tmp_path)
    for key in (None, other):
        with pytest.raises(ConvsmithError, match="cannot be used for TLS"):
            check_certificate(certificate[0], key)


def test_a_key_with_a_password_is_an_error_and_no_question(tmp_path: Path) -> None:
    cert, key = make_certificate(tmp_path, "-passout", "pass:secret")
    with pytest.raises(ConvsmithError, match="cannot be used for TLS"):
        check_certificate(cert, key)


def test_a_key_alone_is_an_error(certificate: tuple[Path, Path]) -> None:
    with pytest.raises(ConvsmithError, match="--keyfile needs --certfile"):
        check_certificate(None, certificate[1])


def test_a_file_that_is_missing_or_no_certificate_is_an_error(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    (tmp_path / "no.pem").write_text("no certificate")
    with pytest.raises(ConvsmithError, match="cannot read"):
        check_certificate(tmp_path / "missing.pem", certificate[1])
    with pytest.raises(ConvsmithError, match="cannot be used for TLS"):
        check_certificate(tmp_path / "no.pem", certificate[1])


def client_of(bundle: Path, header: str, *proxies: str) -> str:
    """The client of a request from 127.0.0.1 that claims to be forwarded."""
    app, records = create_app(bundle, forwarded_allow_ips=proxies), list[RequestRecord]()
    app.state.record_watchers.append(records.append)
    with served(app) as (_, url):
        httpx.get(f"{url}/healthz", headers={"X-Forwarded-For": header})
        wait_until(lambda: bool(records))
    return records[0].client


def test_forwarded_headers_count_from_named_proxies(colour_bundle: Path) -> None:
    assert client_of(colour_bundle, "203.0.113.9", "127.0.0.0/8") == "203.0.113.9"


def test_they_count_from_no_other_address(colour_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", "*")  # uvicorn's own way
    assert client_of(colour_bundle, "203.0.113.9") == "127.0.0.1"
    assert client_of(colour_bundle, "203.0.113.9", "10.0.0.7") == "127.0.0.1"


def test_an_address_that_a_client_puts_before_does_not_count(colour_bundle: Path) -> None:
    assert client_of(colour_bundle, "6.6.6.6, 203.0.113.9", "127.0.0.1") == "203.0.113.9"


@pytest.mark.parametrize("address", ["*", "localhost", "10.0.0.1/8", "256.1.1.1", ""])
def test_what_is_not_an_address_is_an_error(address: str) -> None:
    with pytest.raises(ConvsmithError, match="is not the address of a proxy"):
        check_proxies([address])


@pytest.mark.parametrize("prefix", ["", "/photos"])
def test_behind_a_proxy_the_path_may_have_its_beginning_or_not(colour_bundle: Path, prefix: str) -> None:
    with served(create_app(colour_bundle, root_path="/photos")) as (_, url):
        answer = httpx.post(f"{url}{prefix}/predict", files={"image": picture("red")}, timeout=PATIENCE)
        assert answer.json()["label"] == "red"
        assert httpx.get(f"{url}{prefix}/openapi.json").json()["servers"] == [{"url": "/photos"}]
        assert httpx.get(f"{url}{prefix}/metrics").status_code == 200


def test_probes_behind_a_proxy_need_no_token(colour_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("a" * 32)
    with served(create_app(colour_bundle, root_path="/photos", token_file=tmp_path / "tokens"), wait=True) as (_, url):
        statuses = [
            httpx.get(f"{url}{path}").status_code for path in ("/healthz", "/photos/healthz", "/photos/metrics")
        ]
    assert statuses == [200, 200, 401]


@pytest.mark.parametrize("path", ["photos", "/photos/", "/", "//evil", "/é"])
def test_what_is_not_the_beginning_of_a_path_is_an_error(path: str) -> None:
    with pytest.raises(ConvsmithError, match="--root-path"):
        check_root_path(path)


def test_many_clients_that_do_not_begin_tls_hold_nobody_up(secured: str, certificate: tuple[Path, Path]) -> None:
    silent: list[socket.socket] = [connect(secured) for _ in range(50)]
    try:
        answer = httpx.get(f"{secured}/healthz", verify=trusting(certificate), timeout=PATIENCE)
        assert answer.status_code == 200
    finally:
        for client in silent:
            client.close()
