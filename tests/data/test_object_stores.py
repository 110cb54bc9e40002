"""Shards in buckets and on the hub are read by the services' own clients, which ask stand-ins on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from convsmith.data.shards import remote
from convsmith.errors import ConvsmithError
from tests.data.object_stores import S3, Gcs, Hub, serving
from tests.data.shards import opened, pixels, write_shards, write_splits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_splits(tmp_path / "stores" / "photos" / "deep")


@pytest.fixture(params=["gs", "s3", "hf"])
def address(
    request: pytest.FixtureRequest, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The address of the folder by each service."""
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "_PAUSE", 0.001)
    monkeypatch.setattr(remote, "_systems", {})
    stores = folder.parents[1]
    if request.param == "gs":
        pytest.importorskip("gcsfs")
        with serving(Gcs, stores) as server:
            monkeypatch.setenv("STORAGE_EMULATOR_HOST", server)
            monkeypatch.setenv("NO_GCE_CHECK", "true")  # not a machine of Google's: it would be looked for
            yield "gs://photos/deep"
    elif request.param == "s3":
        pytest.importorskip("s3fs")
        with serving(S3, stores) as server:
            for name, value in {"ACCESS_KEY_ID": "x", "SECRET_ACCESS_KEY": "x", "DEFAULT_REGION": "us-east-1"}.items():
                monkeypatch.setenv(f"AWS_{name}", value)
            monkeypatch.setenv("AWS_ENDPOINT_URL", server)
            yield "s3://photos/deep"
    else:
        constants = pytest.importorskip("huggingface_hub.constants")
        with serving(Hub, stores) as server:
            template = constants.HUGGINGFACE_CO_URL_TEMPLATE
            monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template.replace(constants.ENDPOINT, server))
            monkeypatch.setattr(constants, "ENDPOINT", server)
            monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
            yield "hf://datasets/photos/deep"


def test_shards_read_as_they_lie_there(address: str, folder: Path) -> None:
    local = opened(folder)
    for pattern in ("", "/*.tar", "/{train,val}-{0..1}.tar"):
        found = opened(address + pattern)
        assert (pixels(found.train), pixels(found.val)) == (pixels(local.train), pixels(local.val))
        assert found.names_digest == local.names_digest


def test_a_shard_that_has_changed_is_copied_again(address: str, folder: Path) -> None:
    assert len(opened(f"{address}/train-0.tar").train) == 4
    write_shards(folder, {"train-0.tar": [("x", "cat"), ("y", "dog"), ("z", "cat"), ("v", "dog")]})
    assert [opened(f"{address}/train-0.tar").train.name(i)[-5:] for i in range(4)] == [
        "x.png",
        "y.png",
        "z.png",
        "v.png",
    ]


def test_names_of_classes_beside_the_shards_count(address: str, folder: Path) -> None:
    write_shards(folder, {"train-0.tar": [("a", "0"), ("b", "1")]})
    (folder / "classes.txt").write_text("dog\ncat\n")
    assert opened(f"{address}/train-0.tar").classes == ("dog", "cat")


def test_a_shard_that_is_not_there_is_named(address: str) -> None:
    with pytest.raises(ConvsmithError, match=f"there is no {address}/none.tar"):
        opened(f"{address}/none.tar")
