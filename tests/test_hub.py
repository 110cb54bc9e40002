"""Files on the Hugging Face Hub, with a stand-in for huggingface_hub."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from convsmith.errors import ConvsmithError
from convsmith.hub import hub_file, hub_place, is_offline, keep_hub_offline


class EntryNotFoundError(OSError):
    """As huggingface_hub's."""


class LocalEntryNotFoundError(EntryNotFoundError):
    """As huggingface_hub's."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is asked for; each answer is the path, or the error that the first part of the name is for."""
    asked = list[Any]()
    errors = {
        "gone": EntryNotFoundError("no such file"), "far": LocalEntryNotFoundError("no answer\nand so on"),
        "broken": OSError("the disk\nis full"), "wrong": ValueError("not a name\nof a repository"),
    }  # fmt: skip

    def download(repository: str, file: str, *, revision: str | None, local_files_only: bool) -> str:
        asked.append((repository, file, revision, local_files_only))
        if error := errors.get(repository):
            raise error
        return f"/cache/{file}"

    hub, names, constants = (ModuleType(f"huggingface_hub{part}") for part in ("", ".errors", ".constants"))
    vars(hub)["hf_hub_download"] = download
    vars(names).update(EntryNotFoundError=EntryNotFoundError, LocalEntryNotFoundError=LocalEntryNotFoundError)
    for module in (hub, names, constants):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delenv("CONVSMITH_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    return asked


def test_a_file_is_asked_for_by_repository_and_revision(asked: list[Any]) -> None:
    assert hub_file("hf:someone/digits@v2", "model.onnx", "the bundle", "") == Path("/cache/model.onnx")
    assert asked == [("someone/digits", "model.onnx", "v2", False)]


def test_a_file_that_is_not_there_is_none(asked: list[Any]) -> None:
    assert hub_file("hf:gone", "model.onnx", "the bundle", "") is None
    assert len(asked) == 1


@pytest.mark.parametrize(("name", "why"), [("far", "no answer"), ("broken", "the disk"), ("wrong", "not a name")])
@pytest.mark.usefixtures("asked")
def test_what_cannot_be_had_says_why_in_a_line(name: str, why: str) -> None:
    with pytest.raises(ConvsmithError) as caught:
        hub_file(f"hf:{name}", "model.onnx", "the bundle", "Try again.")
    assert caught.value.args == (f"the bundle `hf:{name}` cannot be had from the Hugging Face Hub", why, "Try again.")


def test_offline_only_the_cache_is_asked(asked: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_OFFLINE", "1")
    with pytest.raises(ConvsmithError, match=r"the network is not to be used \(--offline"):
        hub_file("hf:far", "model.onnx", "the bundle", "")
    assert asked == [("far", "model.onnx", None, True)]
    assert vars(sys.modules["huggingface_hub.constants"])["HF_HUB_OFFLINE"] is True


def test_what_loads_huggingface_hub_later_is_offline_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "huggingface_hub.constants", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "")
    keep_hub_offline()
    assert os.environ["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize(
    ("told", "expected"), [("1", True), ("yes", True), ("", False), ("0", False), ("No", False), ("off", False)]
)
def test_a_variable_forbids_the_network(told: str, expected: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_OFFLINE", told)
    assert is_offline() is expected


def test_a_name_has_a_repository_and_maybe_a_revision() -> None:
    assert hub_place("hf:someone/digits") == ("someone/digits", None)
    assert hub_place("hf:someone/digits@v2") == ("someone/digits", "v2")
