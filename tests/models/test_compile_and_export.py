"""Every model in channels_last, compiled, exported."""

from __future__ import annotations

import copy
from typing import Any

import onnxruntime
import torch
from torch import nn

from convsmith.deploy.onnx_export import export_onnx, inference_model
from convsmith.models.base import SegmentationModel
from convsmith.spec import Preprocess
from tests.models.every import assert_same, computed_models, images, live, lively_training, maps, shared, traced_models


@computed_models
def test_channels_last_is_kept_throughout_and_changes_nothing(name: str) -> None:
    expected = shared(name)(images())
    model = live(name).to(memory_format=torch.channels_last)
    lost: list[str] = []

    def hook(path: str) -> Any:
        def note(_: nn.Module, __: Any, output: Any) -> None:
            for y in output if isinstance(output, list) else [output]:
                if y.ndim == 4 and not y.is_contiguous(memory_format=torch.channels_last):
                    lost.append(path)

        return note

    for path, module in model.named_modules():
        if not isinstance(module, nn.LayerNorm | nn.Linear | nn.GELU):  # these see [N, H, W, C] in ConvNeXt
            module.register_forward_hook(hook(path))
    assert_same(model(images().to(memory_format=torch.channels_last)), expected)
    assert not lost


@traced_models
def test_it_compiles_for_training_and_evaluation_without_graph_breaks(name: str) -> None:
    model = shared(name)
    assert_same(torch.compile(model, backend="eager", fullgraph=True)(images()), model(images()))
    model = lively_training(name)
    output = torch.compile(model, backend="eager", fullgraph=True)(images())
    torch.stack([logits.square().mean() for logits in maps(output)]).sum().backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None for p in model.parameters())


@traced_models
@torch.inference_mode()
def test_an_exported_program_takes_any_batch(name: str) -> None:
    model = copy.deepcopy(shared(name))
    model.gradient_checkpointing()
    program = torch.export.export(model, (images(),), dynamic_shapes=({0: torch.export.Dim("batch")},))
    assert_same(program.module()(images(3)), model(images(3)))


@traced_models
@torch.inference_mode()
def test_the_onnx_file_says_what_torch_says(name: str) -> None:
    model = copy.deepcopy(shared(name))
    model.gradient_checkpointing()
    served = inference_model(model, Preprocess(resize=50, crop=50))
    pixels = torch.randint(0, 256, (3, 3, 50, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    session = onnxruntime.InferenceSession(export_onnx(served, (50, 50)))
    assert [output.name for output in session.get_outputs()] == ["logits"]
    (logits,) = session.run(None, {"images": pixels.numpy()})
    assert_same(torch.from_numpy(logits), served(pixels))
    normalized = served.get_submodule("normalize")(pixels)
    expected = model.segment(normalized) if isinstance(model, SegmentationModel) else model(normalized)
    assert torch.equal(served(pixels), expected)
