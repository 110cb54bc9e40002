"""Bodies in many small parts are read a few at a time, and one client's after the other."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

import h11
import pytest

from convsmith.serve import connection
from convsmith.serve.connection import SMALL, STEPS
from tests.colours import picture
from tests.serve.running import PATIENCE, connect, form, head_of_upload, read_answer


@pytest.fixture
def doings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the server has done since: `part` of a body, `pause` before a turn, `turn` at its end."""
    done = list[str]()
    next_event, sleep = h11.Connection.next_event, asyncio.sleep

    def counted(self: h11.Connection) -> object:
        event = next_event(self)
        if isinstance(event, h11.Data):
            done.append("part")
        return event

    async def noted(seconds: float) -> None:
        is_pause = seconds == connection.PAUSE
        done.extend(["pause"] * is_pause)
        await sleep(seconds)
        done.extend(["turn"] * is_pause)

    monkeypatch.setattr(h11.Connection, "next_event", counted)
    monkeypatch.setattr(asyncio, "sleep", noted)
    return done


def parts_between_turns(doings: list[str]) -> list[int]:
    return [len(parts.split()) for parts in " ".join(it for it in doings if it != "pause").split("turn")]


TINY_CHUNKS = [b"1\r\n%c\r\n" % byte for byte in form(picture("red"))]


def test_a_body_of_tiny_chunks_is_read_a_few_at_a_time(url: str, doings: list[str]) -> None:
    with connect(url) as client:
        client.sendall(head_of_upload("Transfer-Encoding: chunked"))
        client.sendall(b"".join(TINY_CHUNKS) + b"0\r\n\r\n")
        assert read_answer(client)[0] == 200
    assert len(TINY_CHUNKS) > 2 * STEPS
    assert max(parts_between_turns(doings)) <= STEPS


def test_tiny_chunks_that_come_one_by_one_count_as_those_that_come_together(url: str, doings: list[str]) -> None:
    end = time.monotonic() + PATIENCE
    with connect(url) as client:
        client.sendall(head_of_upload("Transfer-Encoding: chunked"))
        for number, chunk in enumerate(TINY_CHUNKS, 1):
            client.sendall(chunk)
            while doings.count("part") < number and time.monotonic() < end:
                time.sleep(0.0002)
        client.sendall(b"0\r\n\r\n")
        assert read_answer(client)[0] == 200
    assert max(parts_between_turns(doings)) <= STEPS


def test_however_many_send_tiny_chunks_one_at_a_time_has_its_turn(url: str, doings: list[str]) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(url)) for _ in range(4)]
        for client in clients:
            client.sendall(head_of_upload("Transfer-Encoding: chunked"))
            client.sendall(b"".join(TINY_CHUNKS) + b"0\r\n\r\n")
        for client in clients:
            assert read_answer(client)[0] == 200
    turns = [it for it in doings if it != "part"]
    assert turns == ["pause", "turn"] * (len(turns) // 2)
    assert len(turns) > 2 * len(clients)


def test_large_chunks_wait_for_no_turn(url: str, doings: list[str]) -> None:
    chunk = b"%x\r\n%b\r\n" % (SMALL, bytes(SMALL))
    with connect(url) as client:
        client.sendall(head_of_upload("Transfer-Encoding: chunked", path="/nowhere"))
        client.sendall(chunk * 2 * STEPS + b"0\r\n\r\n")
        assert read_answer(client)[0] == 404
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert read_answer(client)[0] == 200
    assert "pause" not in doings
