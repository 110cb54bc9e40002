from __future__ import annotations

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convsmith.bundle.format import Manifest, read_files, read_manifest, read_model
from convsmith.bundle.predictor import load
from convsmith.bundle.write import Card
from convsmith.errors import ConvsmithError, upgrade_command
from convsmith.spec import Preprocess
from convsmith.storage import sealed
from tests.colours import LABELS, colour_model, write_colour_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return write_colour_bundle(tmp_path / "bundle")


def reseal(bundle: Path, **changes: Any) -> None:
    """Change the manifest as somebody who knows its checksum would."""
    values = json.loads((bundle / "bundle.json").read_text()) | changes
    del values["checksum"]
    (bundle / "bundle.json").write_text(json.dumps(sealed(values)))


def test_what_is_written_is_read_back(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    assert manifest.labels == LABELS
    assert manifest.preprocess == Preprocess(resize=8, crop=8)
    assert manifest.model == {"name": "colour", "params": 9}
    assert manifest.metrics == {"top1": 1.0}
    assert read_model(bundle, manifest) == colour_model()


def test_a_key_that_says_nothing_is_not_written_where_earlier_versions_lack_it(bundle: Path) -> None:
    assert "thresholds" not in json.loads((bundle / "bundle.json").read_text())


def test_a_bundle_is_two_files(bundle: Path) -> None:
    assert sorted(path.name for path in bundle.iterdir()) == ["README.md", "bundle.json", "model.onnx"]


def test_writing_again_replaces_the_bundle(bundle: Path) -> None:
    write_colour_bundle(bundle, metrics={"top1": 0.5})
    assert read_manifest(bundle).metrics == {"top1": 0.5}
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("labels", [("猫", "été", "a b"), ("a,b", 'say "x"', "line\nbreak")])
def test_labels_of_any_script_survive(tmp_path: Path, labels: tuple[str, ...]) -> None:
    assert read_manifest(write_colour_bundle(tmp_path / "b", labels=labels)).labels == labels


def test_keys_that_are_not_text_are_sealed_as_they_are_read(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "b", recipe={"steps": {2: (1, 2), 10: None}})
    assert read_manifest(bundle).recipe == {"steps": {"2": [1, 2], "10": None}}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metrics": {"top1": float("nan")}}, "not JSON compliant"),
        ({"labels": ("bad \udcff",) * 3}, "surrogate"),
        ({"labels": ()}, "labels"),
        ({"recipe": {"path": Path("x")}}, "not JSON serializable"),
    ],
)
def test_what_could_not_be_read_back_is_not_written(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConvsmithError, match=reason):
        write_colour_bundle(tmp_path / "b", **changes)
    assert not list(tmp_path.iterdir())


def test_a_card_has_every_key_of_a_manifest_that_is_not_of_its_files() -> None:
    of_files = {"format_version", "files", "checksum"}
    assert [field.name for field in fields(Card)] == [key for key in Manifest.model_fields if key not in of_files]


def test_a_folder_without_manifest_is_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match=r"is not a bundle: it holds no bundle\.json"):
        load(tmp_path)


def test_a_run_gives_its_bundle(tmp_path: Path) -> None:
    write_colour_bundle(tmp_path / "run" / "bundle")
    assert load(tmp_path / "run").path == tmp_path / "run" / "bundle"


@pytest.mark.parametrize("name", ["bundle.json", "model.onnx"])
def test_a_file_of_a_bundle_gives_the_bundle(bundle: Path, name: str) -> None:
    assert load(bundle / name).path == bundle


def test_a_bundle_that_lies_beside_another_is_meant_itself(bundle: Path) -> None:
    write_colour_bundle(bundle / "bundle", labels=("cat", "dog", "eel"))
    assert load(bundle).labels == LABELS


def test_a_run_without_a_bundle_says_how_it_gets_one(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("description: stopped")
    with pytest.raises(ConvsmithError, match="has no bundle yet: its training has not come to its end"):
        load(tmp_path)


def test_a_missing_folder_is_not_a_bundle(tmp_path: Path) -> None:
    with pytest.raises(ConvsmithError, match="is not a bundle"):
        load(tmp_path / "gone")


def test_a_changed_manifest_is_refused(bundle: Path) -> None:
    path = bundle / "bundle.json"
    path.write_text(path.read_text().replace('"red"', '"rad"'))
    with pytest.raises(ConvsmithError, match=r"is damaged: .* checksum"):
        load(bundle)


def test_a_changed_model_is_refused(bundle: Path) -> None:
    model = bytearray((bundle / "model.onnx").read_bytes())
    model[100] ^= 1
    (bundle / "model.onnx").write_bytes(model)
    with pytest.raises(ConvsmithError, match=r"model\.onnx does not have the SHA-256"):
        load(bundle)


def test_a_truncated_model_is_refused(bundle: Path) -> None:
    (bundle / "model.onnx").write_bytes(colour_model()[:-1])
    with pytest.raises(ConvsmithError, match=r"model\.onnx has \d+ bytes instead of \d+"):
        load(bundle)


def test_a_missing_model_is_refused(bundle: Path) -> None:
    (bundle / "model.onnx").unlink()
    with pytest.raises(ConvsmithError, match=r"model\.onnx is missing"):
        load(bundle)


def test_a_changed_further_file_is_refused(bundle: Path) -> None:
    files = json.loads((bundle / "bundle.json").read_text())["files"]
    (bundle / "notes.txt").write_text("abc")
    reseal(bundle, files=files | {"notes.txt": {"sha256": "0" * 64, "bytes": 3}})
    with pytest.raises(ConvsmithError, match=r"notes\.txt does not have the SHA-256"):
        load(bundle)


def test_a_bundle_that_names_no_format_is_one_in_onnx(bundle: Path) -> None:
    """Bundles were written so before there were other formats."""
    values = json.loads((bundle / "bundle.json").read_text())
    for key in ("format", "one_size", "checksum"):
        del values[key]
    (bundle / "bundle.json").write_text(json.dumps(sealed(values)))
    assert read_manifest(bundle).format == "onnx"
    assert load(bundle).labels == LABELS


def test_every_file_of_another_format_is_verified(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "b", {"model.xml": b"xml", "model.bin": b"bin"}, format="openvino")
    assert read_files(bundle, read_manifest(bundle)) == {"model.xml": b"xml", "model.bin": b"bin"}
    (bundle / "model.bin").write_bytes(b"bun")
    with pytest.raises(ConvsmithError, match=r"model\.bin does not have the SHA-256"):
        load(bundle)


def test_a_format_that_needs_torch_says_which_commands_take_it(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "b", {"model.ts": b"code"}, format="torchscript")
    with pytest.raises(ConvsmithError, match=r"format is torchscript: .*\n`convsmith evaluate` and"):
        load(bundle)
    with pytest.raises(ConvsmithError, match="holds no ONNX model: its format is torchscript"):
        read_model(bundle, read_manifest(bundle))


@pytest.mark.parametrize(
    "name",
    ["../model.onnx", "/etc/hostname", "a/b/c/d", "a/../b", "a//b", "..", "bundle.json", "", "a\\b", ".x"],
)
def test_a_file_name_that_is_not_plain_is_refused(bundle: Path, name: str) -> None:
    files = json.loads((bundle / "bundle.json").read_text())["files"]
    reseal(bundle, files=files | {name: {"sha256": "0" * 64, "bytes": 3}})
    with pytest.raises(ConvsmithError, match="not the plain name of a file"):
        load(bundle)


@pytest.mark.parametrize("key", ["resize", "crop"])
def test_an_image_side_that_no_memory_holds_is_refused(bundle: Path, key: str) -> None:
    reseal(bundle, preprocess=json.loads((bundle / "bundle.json").read_text())["preprocess"] | {key: 1_000_000})
    with pytest.raises(
        ConvsmithError, match=rf"preprocess\.resize_then_crop\.{key}` is 1000000, expected a number of at most 4096"
    ):
        load(bundle)


def test_a_newer_format_says_what_to_upgrade_to(bundle: Path) -> None:
    reseal(bundle, format_version=2, created_with={"convsmith": "3.1.0"}, a_new_key=1)
    with pytest.raises(ConvsmithError) as caught:
        load(bundle)
    assert caught.value.what.endswith("is a bundle of a newer convsmith")
    assert "format_version is 2" in caught.value.why
    assert caught.value.fix == f"Upgrade to 3.1.0 or newer with: {upgrade_command('3.1.0')}"


def test_a_newer_format_may_even_be_sealed_otherwise(bundle: Path) -> None:
    (bundle / "bundle.json").write_text('{"format_version": 9}')
    with pytest.raises(ConvsmithError, match=rf"Upgrade with: {re.escape(upgrade_command())}$"):
        load(bundle)


@pytest.mark.parametrize(
    ("changes", "unknown"),
    [
        ({"temperature": 1.5}, "temperature"),
        ({"task": "detection"}, "task"),
        ({"preprocess": {"method": "tile", "side": 8}}, "preprocess"),
        ({"preprocess": {"method": "warp", "resize": 8, "crop": 8, "antialias": True}}, "preprocess.warp.antialias"),
        ({"preprocess": {"method": "warp", "resize": 8, "crop": 8, "interpolation": "lanczos"}}, "interpolation"),
    ],
)
def test_a_key_or_a_choice_of_a_later_version_is_newer_not_damaged(
    bundle: Path, changes: dict[str, Any], unknown: str
) -> None:
    reseal(bundle, created_with={"convsmith": "3.1.0"}, **changes)
    with pytest.raises(ConvsmithError, match=f"bundle of a newer convsmith: in bundle.json, .*{unknown}") as caught:
        load(bundle)
    assert caught.value.fix == f"Upgrade to 3.1.0 or newer with: {upgrade_command('3.1.0')}"


@pytest.mark.parametrize("version", [None, "1", 0, True, 1.0])
def test_a_manifest_without_a_format_version_is_damaged(bundle: Path, version: object) -> None:
    reseal(bundle, format_version=version)
    with pytest.raises(ConvsmithError, match="is damaged"):
        load(bundle)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"labels": "red"}, "labels"),
        ({"preprocess": {"method": "warp", "resize": "8", "crop": 8}}, "resize"),
        ({"preprocess": {"resize": 8, "crop": 8}}, "method"),
        ({"task": "segmentation"}, "resize_then_crop"),
        ({"colours": [[0, 0, 0]]}, "1 colours for 3 labels"),
        ({"colours": [[0, 0, 256]] * 3}, "colours"),
        ({"one_size": True}, "needs a window"),
        ({"files": {}}, "no file is the model"),
    ],
)
def test_a_manifest_of_another_shape_names_the_key(bundle: Path, changes: dict[str, Any], key: str) -> None:
    reseal(bundle, **changes)
    with pytest.raises(ConvsmithError, match=f"is damaged: in bundle.json, .*{key}"):
        load(bundle)


def test_a_model_with_another_number_of_classes_is_refused(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "b", labels=("red", "green"))
    with pytest.raises(ConvsmithError, match=r"gives \(3,\) logits for 2 labels"):
        load(bundle)


def test_a_model_with_another_input_size_is_refused(tmp_path: Path) -> None:
    bundle = write_colour_bundle(tmp_path / "b", preprocess=Preprocess(resize=8, crop=16))
    with pytest.raises(ConvsmithError, match=r"cannot run on images of shape \(1, 3, 16, 16\)"):
        load(bundle)


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.just(b"[" * 100_000),
        st.just(b'{"format_version": ' + b"9" * 5000 + b"}"),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        ).map(lambda value: json.dumps(sealed({"format_version": 1, "labels": value})).encode()),
    )
)
def test_any_other_manifest_is_one_clear_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "bundle.json").write_bytes(content)
    with pytest.raises(ConvsmithError):
        read_manifest(folder)


def test_a_bundle_keeps_no_folder_of_its_maker(tmp_path: Path) -> None:
    teacher = {"weights": "/data/teachers/best.pth", "bundle": "~/runs/large/bundle"}
    recipe = {
        "description": "/data is where it came from",
        "model": {"name": "resnet18", "weights": "C:\\Users\\me\\official.pth"},
        "distillation": {"teacher": teacher, "alpha": 0.5},
    }
    kept = read_manifest(write_colour_bundle(tmp_path / "bundle", recipe=recipe)).recipe
    assert kept["model"] == {"name": "resnet18", "weights": "official.pth"}
    assert kept["distillation"] == {"teacher": {"weights": "best.pth", "bundle": "bundle"}, "alpha": 0.5}
    assert kept["description"] == recipe["description"]


@pytest.mark.parametrize("weights", [None, "resnet18.tv_v1", "weights/mine.pth"])
def test_a_bundle_keeps_what_names_no_place_of_its_maker(tmp_path: Path, weights: str | None) -> None:
    recipe = {"model": {"weights": weights}}
    assert read_manifest(write_colour_bundle(tmp_path / "bundle", recipe=recipe)).recipe == recipe
