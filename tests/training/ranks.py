"""Functions in several processes that find each other as if torchrun had started them."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import convsmith as cs
from convsmith.errors import ConvsmithError
from convsmith.models import registry
from convsmith.training import trainer
from convsmith.training.observers.base import Observer
from convsmith.training.train import train
from tests.forked import CONTEXT
from tests.training.tiny_model import TinyNet

Started = list[tuple[ForkServerProcess, Connection]]


def run_ranks(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `function(*arguments)` returns in each of `count` processes; or the error of it."""
    return answers_of(start_ranks(count, function, *arguments))


def start_ranks(count: int, function: Callable[..., Any], *arguments: Any) -> Started:
    """`count` processes at work on `function(*arguments)`."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    started = []
    for rank in range(count):
        ours, theirs = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=_be_rank, args=(theirs, rank, count, port, function, arguments))
        process.start()
        theirs.close()
        started.append((process, ours))
    return started


def answers_of(started: Started) -> list[Any]:
    """What each process returns, once it has ended."""
    answers: list[Any] = []
    for process, ours in started:
        try:
            answers.append(ours.recv())
        except EOFError:
            process.join()
            answers.append(f"exit code {process.exitcode}")
        process.join()
    return answers


def _be_rank(
    answer: Connection, rank: int, count: int, port: int, function: Callable[..., Any], arguments: tuple[Any, ...]
) -> None:
    names = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
    os.environ.update({name: str(value) for name, value in names.items()}, MASTER_ADDR="localhost")
    os.environ["MASTER_PORT"] = str(port)
    torch.set_num_threads(1)
    try:
        answer.send(function(*arguments))
    except ConvsmithError as error:
        answer.send(f"{type(error).__name__} {error.exit_code}: {error}")


class At(Observer):
    """Sends this process a signal once so many steps are done."""

    def __init__(self, step: int, number: signal.Signals, batch: int = 8) -> None:
        self.images, self.number = step * batch, number

    def progress(self, phase: str, done: int, total: int) -> None:
        if phase == "train" and done == self.images:
            os.kill(os.getpid(), self.number)


def train_tiny(
    data: Path,
    out: Path,
    overrides: tuple[str, ...],
    *observers: Observer,
    network: type[TinyNet] = TinyNet,
    shard: bool = False,
) -> str:
    """Train the tiny network, and leave out the bundle and the report: what is compared comes before them."""
    registry._builders()["tiny"] = network
    trainer.RECORD_EVERY = 2  # its epochs are short
    with mock.patch("convsmith.training.train.pack"):
        train(cs.load_recipe("digits", (*TINY, *overrides)), data, out, observers=observers, shard=shard)
    return "finished"


# Everything that draws random numbers in a step, keeps an average, or has state.
TINY = (
    "model.name=tiny",
    "model.num_classes=null",
    "augment.random_crop.size=16",
    "preprocess.resize=16",
    "preprocess.crop=16",
    "batch.size=8",
    "batch.per_device=2",
    "schedule.epochs=3",
    "data.workers=0",
    "precision=fp32",
    "channels_last=false",
    "optimizer.lr=0.1",
    "mixing.mixup_alpha=0.5",
    "clip_grad_norm=1",
    "metrics=[f1_macro, auroc]",
    "ema.decay=0.9",
    "model.options.drop_path=0.2",
    "checkpoint.every_steps=2",
)
