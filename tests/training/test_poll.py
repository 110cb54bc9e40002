"""What processes agree on, in one that trains alone, and errors of those that are lost."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest

from convsmith.launch.world import World
from convsmith.training.parallel.distributed import Poll, _lost_peers_are_errors, broadcast, gather
from convsmith.training.parallel.rendezvous import PeerLost
from convsmith.training.signals import StopNow, StopRequest


def test_one_process_alone_agrees_with_itself() -> None:
    assert gather(World(), 7) == [7]
    assert broadcast(World(), 7) == 7
    poll = Poll(World(), StopRequest())
    assert (poll.stopping, poll.asked, poll.saving, poll.diverged, poll.now()) == (False,) * 5
    poll.open(save=True)
    poll.close()
    assert (poll.saving, poll.diverged) == (True, False)
    poll.open(diverged=True)
    assert (poll.saving, poll.diverged) == (False, True)
    poll.stop.signal = signal.SIGTERM
    assert (poll.stopping, poll.asked, poll.now()) == (True, True, True)
    assert not poll.saving


def test_one_process_alone_leaves_at_once() -> None:
    poll = Poll(World(), StopRequest())
    poll.stop.signal = signal.SIGTERM
    with pytest.raises(StopNow), poll.leaving_at_once():
        pass


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ("[gloo/transport/tcp/pair.cc:534] Connection closed by peer\nmore", "has ended"),
        ("pair closure", "has ended"),
        ("[gloo/x.cc:1] Timed out waiting 1000ms for recv", "has not answered for 7 seconds"),
        ("gloo: timeout", "has not answered for 7 seconds"),
    ],
)
def test_what_gloo_says_of_a_lost_process_is_said_in_words(said: str, what: str) -> None:
    with pytest.raises(PeerLost) as caught, _lost_peers_are_errors(timedelta(seconds=7)):
        raise RuntimeError(said)
    assert caught.value.what == f"another process of this training {what}"
    assert caught.value.why == said.splitlines()[0]


def test_other_errors_are_not_those_of_lost_processes() -> None:
    with pytest.raises(RuntimeError, match="shapes"), _lost_peers_are_errors(timedelta(seconds=7)):
        raise RuntimeError("shapes do not fit")
