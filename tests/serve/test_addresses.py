"""Which addresses images may be fetched from: those that a pattern allows, of public places."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from convsmith.errors import ConvsmithError
from convsmith.serve.addresses import Pattern, is_public, parse_url, resolve
from convsmith.serve.app import create_app
from convsmith.serve.problems import Problem


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1",
        "100.100.100.200", "168.63.129.16", "192.0.0.192", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "2001:0:7f00:1::", "fec0::1",
    ],
)  # fmt: skip
def test_private_and_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c"])
def test_others_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "2130706433", "0x7f.1", "127.1", "[::ffff:7f00:1]"]
)
def test_no_spelling_of_this_machine_is_reached(host: str) -> None:
    url = parse_url(f"http://{host}/a.png", [Pattern.parse("*")])
    with pytest.raises(Problem) as caught:
        asyncio.run(resolve(url))
    assert caught.value.status == (403 if caught.value.body.error.startswith("images may not") else 422)


@pytest.mark.parametrize(
    ("pattern", "address", "taken"),
    [
        ("*", "https://a.example.org/x.png", True),
        ("*", "http://a.example.org:8080/x.png", False),
        ("https://*", "http://a.example.org/x.png", False),
        ("a.example.org", "http://A.Example.ORG/x", True),
        ("a.example.org", "https://a.example.org:443/x", True),
        ("*.example.org", "https://a.b.example.org/x", True),
        ("*.example.org", "https://example.org/x", False),
        ("*.example.org", "https://evil.test/x.example.org/", False),
        ("https://example.org/*", "https://example.org.evil.test/x", False),
        ("https://example.org/photos/*", "https://example.org/photos/a/b.png?x=1", True),
        ("https://example.org/photos/*", "https://example.org/private/a.png", False),
        ("https://example.org:8443/*", "https://example.org:8443/a.png", True),
        ("bücher.example", "https://bücher.example/ä.png", True),
    ],
)
def test_a_pattern_allows_what_it_says(pattern: str, address: str, taken: bool) -> None:
    if taken:
        assert parse_url(address, [Pattern.parse(pattern)]).geturl().isascii()
    else:
        with pytest.raises(Problem) as caught:
            parse_url(address, [Pattern.parse(pattern)])
        assert caught.value.status == 403


@pytest.mark.parametrize(
    "address",
    [
        "", "a.png", "/a.png", "ftp://example.org/a", "file:///etc/passwd", "https://", "https://user@example.org/a",
        "https://example.org/a b", "https://example.org/\n", "https://example.org:port/", "https://example.org:99999/",
        "https://example.org/x/../y", "https://example.org/%2e%2E/y", "https://example.org/x/%252e%252e/y",
        "https://example.org\\@evil.test/", "https://[::1/", "https://" + "a" * 300 + ".org/",
        "https://example.org/" + "a" * 5000, "data:image/png;base64,AAAA", "https://xn--\ud800.org/",
    ],
)  # fmt: skip
def test_what_is_not_an_address_of_the_web_is_422(address: str) -> None:
    with pytest.raises(Problem) as caught:
        parse_url(address, [Pattern.parse("*")])
    assert caught.value.status == 422


@pytest.mark.parametrize(
    "pattern", ["", "/x", "ftp://example.org", "https://u@example.org", "https://example.org/?x", "http://[", "a:b"]
)
def test_what_is_not_a_pattern_is_told_before_the_server_starts(colour_bundle: Path, pattern: str) -> None:
    with pytest.raises(ConvsmithError, match="not a pattern of addresses"):
        create_app(colour_bundle, allow_urls=(pattern,))
