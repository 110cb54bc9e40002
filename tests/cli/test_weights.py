from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from convsmith.cli.main import app
from convsmith.errors import ConvsmithError
from convsmith.models.weights import published
from convsmith.models.weights.published import list_weights, weights
from tests.models.download_server import CONTENT, SHA256, Server, serving


def run(*words: str) -> str:
    result = CliRunner().invoke(app, ["weights", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_table_has_a_line_for_each_with_nothing_cut_off() -> None:
    output = run()
    assert [line.split()[0] for line in output.splitlines()[3:] if line.strip()] == list_weights()
    assert "…" not in output


def test_a_line_shows_accuracy_cost_and_licence() -> None:
    line = run("resnet50.tv_v2").splitlines()[-2]
    words = ["resnet50.tv_v2", "80.86", "95.43", "-", "224", "25.6", "M", "4.09", "ImageNet-1K", "BSD-3-Clause"]
    assert line.split() == words


def test_a_segmentation_model_shows_miou_and_both_sides() -> None:
    line = run("hrnet_w48_seg.cityscapes").splitlines()[-2]
    words = [
        "hrnet_w48_seg.cityscapes",
        "-",
        "-",
        "80.90",
        "1024x2048",
        "65.9",
        "M",
        "747.51",
        "Cityscapes",
        "val",
        "MIT",
    ]
    assert line.split() == words


def test_json_says_null_for_what_is_not_published() -> None:
    (row,) = json.loads(run("convnext_tiny.fb_in22k", "--json"))
    assert (row["sha256"], row["categories"], row["top1"]) == (None, None, None)
    assert (row["options"], row["input_size"]) == ({"num_classes": 21841}, [224, 224])


def test_json_has_all_facts() -> None:
    rows = json.loads(run("cifar_resnet*", "--json"))
    assert [row["name"] for row in rows] == list_weights("cifar_resnet*")
    w = weights("cifar_resnet20.akamaster")
    row = rows[1]
    assert (row["url"], row["sha256"], row["licence"], row["top1"]) == (w.url, w.sha256, w.licence, 91.73)
    assert row["preprocessing"]["crop"] == 32
    assert row["categories"][-1] == "truck"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["nothing*"], ""),
        (["nothing*", "--json"], ""),
        (["resnet_50*"], "; did you mean `resnet50`?"),
        (["resnet50.tv_3"], "; did you mean `resnet50.tv_v"),
    ],
)
def test_no_match_is_an_error_that_says_what_was_meant(words: list[str], meant: str) -> None:
    with pytest.raises(ConvsmithError) as caught:
        run(*words)
    assert f"fit `{words[0]}`{meant}" in caught.value.what


def test_help_has_an_example() -> None:
    assert "Example: convsmith weights" in run("--help")


def test_download_prints_where_the_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path))
    with serving(Server()) as server:
        here = weights("cifar_resnet20.akamaster").model_copy(update={"url": server.url, "sha256": SHA256})
        monkeypatch.setattr(published, "_published", lambda: {here.name: here})
        path = Path(run(here.name, "--download", "--timeout", "60").strip())
    assert path == here.path
    assert hashlib.sha256(path.read_bytes()).digest() == hashlib.sha256(CONTENT).digest()
    assert json.loads(run(here.name, "--download", "--json")) == {here.name: str(path)}


def test_download_of_everything_by_mistake_is_refused() -> None:
    with pytest.raises(ConvsmithError, match="would fetch all weights"):
        run("--download")


def test_a_timeout_without_a_download_is_refused() -> None:
    with pytest.raises(ConvsmithError, match=r"counts for downloads only"):
        run("resnet50*", "--timeout", "3")


def test_fetch_prints_where_the_files_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path))
    with serving(Server()) as server:
        here = weights("cifar_resnet20.akamaster").model_copy(update={"url": server.url, "sha256": SHA256})
        monkeypatch.setattr(published, "_published", lambda: {here.name: here})
        assert Path(run("fetch", here.name).strip()) == here.path
    monkeypatch.setenv("CONVSMITH_OFFLINE", "")  # put back after the test
    assert run("fetch", here.name, "--offline").strip() == str(here.path)


def test_offline_names_the_file_and_its_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CONVSMITH_CACHE", str(tmp_path))
    monkeypatch.setenv("CONVSMITH_OFFLINE", "")  # put back after the test
    with serving(Server()) as server:
        gone = weights("cifar_resnet20.akamaster").model_copy(update={"url": server.url, "sha256": SHA256})
        monkeypatch.setattr(published, "_published", lambda: {gone.name: gone})
        with pytest.raises(ConvsmithError, match="the network is not to be used") as refused:
            run("fetch", gone.name, "--offline")
        assert server.asked == []
    assert server.url in refused.value.fix
    assert str(gone.path) in refused.value.fix


def test_weights_of_other_libraries_are_listed_with_their_licence() -> None:
    lines = {line.split()[0]: line for line in run("timm/convnextv2_atto*").splitlines()[3:] if line.strip()}
    assert lines["timm/convnextv2_atto.fcmae"].rstrip().endswith("cc-by-nc-4.0 (!)")
    assert "(!)" in run("timm/convnextv2_atto*").splitlines()[-1]
    (row,) = json.loads(run("torchvision/resnet18", "--json"))
    assert (row["name"], row["licence"]) == ("torchvision/resnet18.IMAGENET1K_V1", "bsd-3-clause")
    assert row["preprocessing"]["crop"] == 224


def test_another_librarys_weights_that_are_not_here_say_how_to_bring_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("CONVSMITH_OFFLINE", "1")
    with pytest.raises(ConvsmithError, match=r"resnet18-f37072fd\.pth is not here") as refused:
        run("fetch", "torchvision/resnet18")
    assert str(tmp_path / "hub/checkpoints/resnet18-f37072fd.pth") in refused.value.fix
