"""Shards on a network: copied into a cache of bounded size, whole or not at all."""

from __future__ import annotations

import http.server
import multiprocessing
import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from fsspec.registry import _registry

from convsmith.data.shards import remote
from convsmith.data.source import is_known
from convsmith.errors import ConvsmithError
from tests.answering import answering
from tests.data.shards import ROWS, opened, pixels, write_shards, write_splits


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "_PAUSE", 0.001)


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves a folder; as Python's own server does, it knows no ranges."""

    asked: ClassVar[list[str]]
    cut_off: ClassVar[int] = 0

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        if type(self).cut_off and self.path.endswith(".tar"):
            type(self).cut_off -= 1
            content = content[: len(content) // 2]
            self.close_connection = True
        outputfile.write(content)


@contextmanager
def serving(folder: Path) -> Iterator[tuple[str, type[Files]]]:
    """The address of a server of a folder, and its handler, which notes what is asked for."""

    class Handler(Files):
        asked: ClassVar[list[str]] = []

    def make(*args: Any) -> Files:
        return Handler(*args, directory=str(folder))

    with answering(make) as address:
        yield address, Handler


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_splits(tmp_path / "data")


def copies(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.glob("cache/remote/**/*.tar"))


@pytest.mark.parametrize("pattern", ["/{train,val}-{0..1}.tar", "/", ""])
def test_shards_of_a_server_read_as_they_lie_there(data: Path, pattern: str) -> None:
    local = opened(data)
    with serving(data.parent) as (address, _):
        assert is_known(Path(f"{address}/train-{{0..1}}.tar"))
        folder = opened(f"{address}/data{pattern}")
        assert (pixels(folder.train), pixels(folder.val)) == (pixels(local.train), pixels(local.val))
        assert folder.names_digest == local.names_digest


def test_each_shard_is_copied_once(data: Path) -> None:
    with serving(data) as (address, handler):
        for _ in range(2):
            pixels(opened(f"{address}/train-{{0..1}}.tar").train)
        assert sorted(path for path in handler.asked if path.endswith(".tar")) == ["/train-0.tar", "/train-1.tar"]


def test_a_shard_that_has_changed_is_copied_again(data: Path) -> None:
    with serving(data) as (address, _):
        assert len(opened(f"{address}/train-0.tar").train) == 4
        write_shards(data, {"train-0.tar": ROWS[:2]})
        os.utime(data / "train-0.tar", (0, 0))
        assert len(opened(f"{address}/train-0.tar").train) == 2


def test_messages_name_the_address(data: Path) -> None:
    with serving(data) as (address, _):
        assert opened(f"{address}/train-0.tar").train.name(0) == f"{address}/train-0.tar: train0a.png"


def test_names_of_classes_beside_the_shards_count(data: Path) -> None:
    write_shards(data, {"train-0.tar": [("a", "0"), ("b", "1")]})
    (data / "classes.txt").write_text("dog\ncat\n")
    with serving(data) as (address, _):
        assert opened(f"{address}/train-0.tar").classes == ("dog", "cat")
        (data / "classes.txt").unlink()
        assert opened(f"{address}/train-0.tar").classes == ("0", "1")


def test_the_copies_that_were_not_used_for_long_make_room(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (data / "train-0.tar").stat().st_size
    monkeypatch.setenv("CONVSMITH_REMOTE_CACHE", str(size * 5 // 2))
    with serving(data) as (address, _):
        folder = opened(f"{address}/{{train,val}}-{{0..1}}.tar")
        assert len(copies(tmp_path)) == 2
        assert len(pixels(folder.train) + pixels(folder.val)) == 16
        assert len(copies(tmp_path)) == 2
        folder.train.read(0)
        assert "train-0.tar" in copies(tmp_path)


def test_a_bound_that_is_none_is_refused(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_REMOTE_CACHE", "much")
    with serving(data) as (address, _), pytest.raises(ConvsmithError, match="CONVSMITH_REMOTE_CACHE is `much`"):
        opened(f"{address}/train-0.tar")


def test_a_copy_that_is_cut_off_is_made_again(data: Path, tmp_path: Path) -> None:
    with serving(data) as (address, handler):
        handler.cut_off = 2
        assert len(pixels(opened(f"{address}/train-0.tar").train)) == 4
    assert copies(tmp_path) == ["train-0.tar"]


@pytest.mark.parametrize(("name", "what"), [("train-0", "cannot read"), ("none", "there is no")])
def test_what_cannot_be_copied_is_named_and_leaves_nothing(data: Path, tmp_path: Path, name: str, what: str) -> None:
    with serving(data) as (address, handler):
        handler.cut_off = 99
        with pytest.raises(ConvsmithError, match=f"{what} {address}/{name}.tar"):
            opened(f"{address}/{name}.tar")
    assert copies(tmp_path) == []
    assert not list(tmp_path.glob("cache/remote/**/.convsmith-*"))


def test_a_file_that_grew_after_it_was_asked_for_is_not_copied_in_part(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(data) as (address, _):
        (file,) = remote.ask([f"{address}/train-0.tar"])
        monkeypatch.setattr(remote, "_CHUNK", file.size)
        with (data / "train-0.tar").open("ab") as grown:
            grown.write(bytes(512))
        with pytest.raises(ConvsmithError, match="cannot read"):
            remote.copy(file)
    assert copies(tmp_path) == []


def test_a_server_that_does_not_answer_is_named() -> None:
    with pytest.raises(ConvsmithError, match=r"cannot read http://127\.0\.0\.1:1/s\.tar") as caught:
        opened("http://127.0.0.1:1/s.tar")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("scheme", "package"), [("s3", "s3fs"), ("gs", "gcsfs"), ("hf", "huggingface_hub"), ("http", "aiohttp")]
)
def test_a_package_that_is_not_installed_is_named(scheme: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_systems", {})
    monkeypatch.delitem(_registry, scheme, raising=False)
    for name in [name for name in sys.modules if name == "fsspec.implementations.http"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConvsmithError, match=f"data at {scheme}:// needs the package `{package}`") as caught:
        opened(f"{scheme}://photos/train.tar")
    assert "[remote]" in caught.value.fix


def _pixels_of(samples: Any, queue: Any) -> None:
    queue.put(pixels(samples))


def test_processes_that_were_forked_copy_what_they_need(data: Path, tmp_path: Path) -> None:
    with serving(data) as (address, _):
        train = opened(f"{address}/train-{{0..1}}.tar").train
        expected = pixels(train)
        for path in tmp_path.glob("cache/remote/**/*.tar"):
            path.unlink()
        context = multiprocessing.get_context("fork")
        queue: Any = context.SimpleQueue()
        children = [context.Process(target=_pixels_of, args=(train, queue)) for _ in range(3)]
        for child in children:
            child.start()
        assert [queue.get() for _ in children] == [expected] * 3
        for child in children:
            child.join()


def test_buckets_of_s3_are_read(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moto = pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("s3fs")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    try:
        host, port = server.get_host_and_port()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        client = boto3.client("s3", endpoint_url=f"http://{host}:{port}")
        client.create_bucket(Bucket="photos")
        for path in data.iterdir():
            client.upload_file(str(path), "photos", f"deep/{path.name}")
        local = opened(data)
        for pattern in ("", "/*.tar", "/{train,val}-{0..1}.tar"):
            folder = opened(f"s3://photos/deep{pattern}")
            assert (pixels(folder.train), pixels(folder.val)) == (pixels(local.train), pixels(local.val))
        with pytest.raises(ConvsmithError, match=r"there is no s3://photos/deep/none\.tar"):
            opened("s3://photos/deep/none.tar")
    finally:
        server.stop()


def test_buckets_of_google_are_read(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    pytest.importorskip("gcsfs")
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="photos")
    server.start()
    try:
        host, port = server._api._httpd.server_address
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{host}:{port}")
        monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")  # which would ask by gRPC what buckets are
        upload = f"http://{host}:{port}/upload/storage/v1/b/photos/o?uploadType=media&name=deep/"
        for path in data.iterdir():
            urllib.request.urlopen(urllib.request.Request(upload + path.name, path.read_bytes())).close()
        local = opened(data)
        for pattern in ("", "/*.tar", "/{train,val}-{0..1}.tar"):
            folder = opened(f"gs://photos/deep{pattern}")
            assert (pixels(folder.train), pixels(folder.val)) == (pixels(local.train), pixels(local.val))
        with pytest.raises(ConvsmithError, match=r"there is no gs://photos/deep/none\.tar"):
            opened("gs://photos/deep/none.tar")
    finally:
        server.stop()
