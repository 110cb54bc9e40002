"""Bundles on the Hugging Face Hub, against a stand-in for it on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from convsmith.bundle.format import read_manifest
from convsmith.errors import ConvsmithError
from convsmith.jobs.push import push
from tests.colours import picture, write_colour_bundle
from tests.hub import TOKEN, Hub, python, running

PUSH = "from convsmith.cli.main import main; main(['push', {bundle!r}, 'hf:someone/colours', *{more!r}])"
PREDICT = "from convsmith.cli.main import main; main(['predict', 'hf:someone/colours', {image!r}])"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_colour_bundle(tmp_path_factory.mktemp("made") / "bundle")


@pytest.fixture(scope="module")
def hub(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """One that a bundle was pushed to."""
    with running(Hub({}, "someone/colours")) as hub:
        code = PUSH.format(bundle=str(bundle), more=["--private", "--license", "apache-2.0"])
        told = python(code, hub, tmp_path_factory.mktemp("cache"), HF_TOKEN=TOKEN)
        assert (told.returncode, told.stdout.strip()) == (0, f"{hub.url}/someone/colours/commit/{'a' * 40}"), (
            told.stderr
        )
        yield hub


def test_all_files_of_the_bundle_are_there_byte_for_byte(hub: Hub, bundle: Path) -> None:
    for name in ("bundle.json", *read_manifest(bundle).files):
        assert hub.files[name] == (bundle / name).read_bytes()


def test_what_is_made_is_private_where_that_is_asked_for(hub: Hub) -> None:
    made = hub.made[0]
    assert (made["organization"], made["name"]) == ("someone", "colours")
    assert made.get("visibility") == "private" or made["private"]  # as newer and older clients say it


def test_the_card_states_the_licence_that_is_given(hub: Hub, bundle: Path) -> None:
    card = ModelCard(hub.files["README.md"].decode())
    assert card.data["license"] == "apache-2.0"
    assert card.text == ModelCard((bundle / "README.md").read_text()).text


def test_a_bundle_of_the_hub_answers_as_one_of_a_folder_and_offline_too(hub: Hub, tmp_path: Path) -> None:
    image = tmp_path / "green.png"
    image.write_bytes(picture("green"))
    first = python(PREDICT.format(image=str(image)), hub, tmp_path / "cache")
    assert "green" in first.stdout, first.stderr
    hub.asked.clear()
    again = python(PREDICT.format(image=str(image)), hub, tmp_path / "cache", CONVSMITH_OFFLINE="1")
    assert (again.stdout, hub.asked) == (first.stdout, [])


@pytest.mark.parametrize(
    ("name", "files", "environment", "message"),
    [
        ("hf:someone/colours", {"other.txt": b""}, {}, "`hf:someone/colours` is not a bundle"),
        ("hf:someone/colours", {"bundle.json": b"{"}, {}, "bundle.json is not JSON"),
        ("hf:someone/else", {}, {}, "cannot be had from the Hugging Face Hub"),
        ("hf:someone/colours", {}, {"CONVSMITH_OFFLINE": "1"}, "the network is not to be used"),
    ],
)
def test_what_is_no_bundle_is_an_error_of_two_lines(
    name: str, files: dict[str, bytes], environment: dict[str, str], message: str, tmp_path: Path
) -> None:
    with running(Hub(files, "someone/colours")) as hub:
        code = f"from convsmith.cli.main import main; main(['predict', {name!r}, 'x.png'])"
        told = python(code, hub, tmp_path, **environment)
    assert told.returncode == 2
    assert message in told.stderr
    assert len(told.stderr.strip().splitlines()) == 2


def test_who_may_not_write_there_is_told_how_to_log_in(bundle: Path, tmp_path: Path) -> None:
    with running(Hub({}, "someone/colours")) as hub:
        told = python(PUSH.format(bundle=str(bundle), more=[]), hub, tmp_path, HF_TOKEN="hf_of_another")
    assert told.returncode == 2
    assert "hf auth login" in told.stderr
    assert "Traceback" not in told.stderr


def test_a_hub_that_cannot_be_reached_is_an_error_of_two_lines(bundle: Path, tmp_path: Path) -> None:
    with running(Hub({}, "someone/colours")) as gone:
        pass
    told = python(PUSH.format(bundle=str(bundle), more=[]), gone, tmp_path, HF_TOKEN=TOKEN)
    assert told.returncode == 2
    assert "where the Hub can be reached" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 2


def test_a_name_that_is_not_of_the_hub_is_refused(bundle: Path) -> None:
    with pytest.raises(ConvsmithError, match="hf:ORG/NAME"):
        push(bundle, "someone/colours")


def test_nothing_is_pushed_where_the_network_is_not_to_be_used(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONVSMITH_OFFLINE", "1")
    with pytest.raises(ConvsmithError, match="the network is not to be used"):
        push(bundle, "hf:someone/colours")


@pytest.mark.parametrize("card", [b"---\nlicense: [\n---\n", b"---\n- mit\n---\n", b"\xff\xfe"])
def test_a_card_that_was_edited_badly_is_named(card: bytes, tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "bundle")
    (bundle / "README.md").write_bytes(card)
    with pytest.raises(ConvsmithError, match=r"README.md is not a model card"):
        push(bundle, "hf:someone/colours")
