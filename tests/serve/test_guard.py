"""Tokens and rates: who may ask, and how often."""

from __future__ import annotations

import hmac
import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest

from convsmith.errors import ConvsmithError
from convsmith.serve import rates, tokens
from convsmith.serve.app import create_app
from convsmith.serve.rates import Rates
from convsmith.serve.tokens import Tokens
from tests.colours import picture
from tests.serve.running import PATIENCE, connect, head_of_upload, read_answer, served, served_by_command

ONE, OTHER = "a" * 32, "Zm9v/bar+baz-_.~0123=="


@pytest.fixture(scope="module")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokens") / "tokens"
    path.write_text(f"# of the shop\n{ONE}\n\n  {OTHER}\n")
    return path


@pytest.fixture(scope="module")
def guarded(colour_bundle: Path, token_file: Path) -> Iterator[str]:
    with served(create_app(colour_bundle, token_file=token_file)) as (_, url):
        yield url


def ask(url: str, *authorization: str) -> httpx.Response:
    headers = [("Authorization", it) for it in authorization]
    return httpx.post(f"{url}/predict", files={"image": picture("red")}, headers=headers, timeout=PATIENCE)


@pytest.mark.parametrize("given", [f"Bearer {ONE}", f"Bearer {OTHER}", f"bearer  {ONE}"])
def test_who_has_a_token_is_answered(guarded: str, given: str) -> None:
    assert ask(guarded, given).json()["label"] == "red"


@pytest.mark.parametrize(
    "given",
    [
        "Bearer",
        f"Bearer {ONE[:-1]}",
        f"Bearer {ONE}a",
        f"Basic {ONE}",
        ONE,
        "Bearer # of the shop",
        f"Bearer {ONE} {OTHER}",
    ],
)
def test_who_has_another_one_is_401(guarded: str, given: str) -> None:
    answer = ask(guarded, given)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Bearer error="invalid_token"')
    assert set(answer.json()) == {"error", "why", "fix"}


def test_who_has_none_is_challenged(guarded: str) -> None:
    answer = ask(guarded)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "X-Request-Id" in answer.headers


def test_two_tokens_are_none(guarded: str) -> None:
    assert ask(guarded, f"Bearer {ONE}", f"Bearer {OTHER}").status_code == 401


@pytest.mark.parametrize(
    "path", ["/metrics", "/openapi.json", "/nowhere", "/", "/healthz/", "//healthz", "/healthz/../predict"]
)
def test_all_else_needs_a_token(guarded: str, path: str) -> None:
    with connect(guarded) as client:
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert read_answer(client)[0] == 401


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_probes_need_none(guarded: str, path: str) -> None:
    assert httpx.get(guarded + path).status_code == 200
    assert httpx.head(guarded + path).status_code == 200


def test_a_token_in_a_refusal_is_not_repeated(guarded: str) -> None:
    assert "secret-secret-secret" not in str(ask(guarded, "Bearer secret-secret-secret").content)


def test_a_large_upload_without_a_token_is_401(guarded: str) -> None:
    with connect(guarded) as client:
        client.sendall(head_of_upload("Content-Length: 10000000"))
        client.sendall(bytes(10_000_000))
        assert read_answer(client)[0] == 401


def test_the_description_says_what_needs_a_token(guarded: str) -> None:
    schema = httpx.get(f"{guarded}/openapi.json", headers={"Authorization": f"Bearer {ONE}"}).json()
    assert schema["components"]["securitySchemes"] == {"token": {"type": "http", "scheme": "bearer"}}
    assert schema["paths"]["/predict"]["post"]["security"] == [{"token": []}]
    assert "401" in schema["paths"]["/predict"]["post"]["responses"]
    assert "security" not in schema["paths"]["/healthz"]["get"]


def test_without_a_file_of_tokens_all_may_ask(url: str) -> None:
    assert ask(url, "Bearer whatever").status_code == 200
    assert "securitySchemes" not in httpx.get(f"{url}/openapi.json").json()["components"]


def test_a_changed_file_counts_from_then_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "_SECOND", 0)
    path = tmp_path / "tokens"
    path.write_text(ONE)
    found = Tokens(path)
    (tmp_path / "new").write_text(OTHER)
    os.replace(tmp_path / "new", path)  # noqa: PTH105
    assert found.allow(f"Bearer {OTHER}")
    assert not found.allow(f"Bearer {ONE}")


@pytest.mark.parametrize("content", [None, "", "short"])
def test_a_file_that_is_gone_or_wrong_leaves_the_tokens_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    monkeypatch.setattr(tokens, "_SECOND", 0)
    path = tmp_path / "tokens"
    path.write_text(ONE)
    found = Tokens(path)
    path.unlink() if content is None else path.write_text(content)
    assert all(found.allow(f"Bearer {ONE}") for _ in range(3))
    assert caplog.text.count("the tokens stay as they were") == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "it holds none"),
        ("# only words\n", "it holds none"),
        (f"{ONE}\nshort\n", "line 2 is not a token"),
        ("with blanks in the middle of it", "line 1 is not a token"),
        ("é" * 20, "line 1 is not a token"),
    ],
)
def test_a_file_without_tokens_is_an_error(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "tokens").write_text(content)
    with pytest.raises(ConvsmithError) as error:
        Tokens(tmp_path / "tokens")
    assert why in error.value.why


def test_a_file_of_windows_is_read(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_bytes(f"\ufeff{ONE}\r\n{OTHER}\r\n".encode())
    assert Tokens(tmp_path / "tokens").allow(f"Bearer {ONE}")


@pytest.mark.parametrize("name", ["missing", "."])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConvsmithError, match="cannot read the tokens"):
        Tokens(tmp_path / name)


def test_the_command_takes_both(colour_bundle: Path, token_file: Path) -> None:
    with served_by_command(colour_bundle, "--token-file", str(token_file), "--rate", "1/h") as (_, url):
        assert [ask(url, f"Bearer {ONE}").status_code for _ in range(2)] == [200, 429]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(rates, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_so_many_may_come_at_once(clock: SimpleNamespace) -> None:
    found = Rates("10/s")
    assert [found.seconds_to_wait("a") for _ in range(11)] == pytest.approx([0] * 10 + [0.1])


def test_then_as_many_in_each_stretch_of_time(clock: SimpleNamespace) -> None:
    found, allowed = Rates("10/s"), 0
    for _ in range(1000):
        clock.now += 0.01
        allowed += found.seconds_to_wait("a") == 0
    assert 100 <= allowed <= 110


def test_those_that_are_refused_make_none_wait_longer(clock: SimpleNamespace) -> None:
    found = Rates("2/m")
    waits = [found.seconds_to_wait("a") for _ in range(100)]
    assert waits[2:] == pytest.approx([30] * 98)


def test_one_client_does_not_count_for_another(clock: SimpleNamespace) -> None:
    found = Rates("1/h")
    assert [found.seconds_to_wait(it) for it in ("a", "b", "10.0.0.1", "10.0.0.2")] == [0] * 4


def test_a_network_of_ipv6_is_one_client(clock: SimpleNamespace) -> None:
    found = Rates("1/h")
    assert found.seconds_to_wait("2001:db8::1") == 0
    assert found.seconds_to_wait("2001:db8::ffff:2") > 0
    assert found.seconds_to_wait("2001:db8:0:1::1") == 0
    assert found.seconds_to_wait("fe80::1%eth0") == 0


def test_many_clients_are_not_kept_for_ever(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "_MOST_CLIENTS", 100)
    found = Rates("1/h")
    for number in range(1000):
        found.seconds_to_wait(str(number))
    assert len(found._due) <= 101
    assert found.seconds_to_wait("999") > 0


@pytest.mark.parametrize("rate", ["", "10", "0/s", "-1/s", "1.5/s", "10/d", "10 /s", "1/s\n", "10/ms"])
def test_what_is_not_a_rate_is_an_error(rate: str) -> None:
    with pytest.raises(ConvsmithError, match="--rate is"):
        Rates(rate)


def test_who_asks_too_often_is_429_and_learns_when_to_come_again(colour_bundle: Path) -> None:
    with served(create_app(colour_bundle, rate="3/m")) as (_, url):
        answers = [ask(url) for _ in range(4)]
        assert [it.status_code for it in answers] == [200, 200, 200, 429]
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 20
        assert {httpx.get(f"{url}/healthz").status_code for _ in range(10)} == {200}
        assert "429" in create_app(colour_bundle, rate="3/m").openapi()["paths"]["/predict"]["post"]["responses"]


def test_no_comparison_ends_early(token_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found, compared = Tokens(token_file), []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append(a)
        return hmac.compare_digest(a, b)

    monkeypatch.setattr(tokens, "hmac", SimpleNamespace(compare_digest=compare))
    assert [found.allow(f"Bearer {given}") for given in (ONE, OTHER, "none of them")] == [True, True, False]
    assert len(compared) == 3 * 2
