"""Costs and gains of INT8: accuracy of a classifier and of segmentation, training for INT8, speed of five families.

    .venv/bin/python benchmarks/quantize.py accuracy WEIGHTS.th --data cifar10/
    .venv/bin/python benchmarks/quantize.py training WEIGHTS.th --data cifar10/ [--epochs 1] [--fraction 0.2]
    .venv/bin/python benchmarks/quantize.py bundle RUN/bundle --data camvid/ [--images 64]
    .venv/bin/python benchmarks/quantize.py peers BUNDLE --photos photos/ [--images 300] [--nncf PYTHON]
    OMP_NUM_THREADS=2 .venv/bin/python benchmarks/quantize.py speed [MODEL ...] [--threads 2]

WEIGHTS is the official cifar_resnet20. `peers` makes a classifier's bundle INT8 by `convsmith quantize`, which also
chooses a rule and judges both forms, by onnxruntime's own function, and by NNCF, whose environment `--nncf` names the
Python of: onnx, onnxruntime and nncf. Each is a process of its own, on the same images. `speed` needs openvino and an
idle machine: all forms of a model are in one process and take turns; medians count. Its models have random
weights with the statistics of a few passes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch
from numpy.typing import NDArray

import convsmith as cs
from convsmith.analyze.evaluate import evaluate_bundle
from convsmith.bundle.runtime import Infer, OnnxRuntime
from convsmith.deploy.calibration import calibrate
from convsmith.deploy.graph import Graph
from convsmith.deploy.onnx_export import export_onnx, inference_model
from convsmith.deploy.parity import Parity
from convsmith.deploy.qdq import insert_qdq, place
from convsmith.deploy.quantize import quantize_bundle
from convsmith.deploy.static_int8 import kernels
from convsmith.spec import Preprocess, WholeImage

BY_ONNXRUNTIME = """
import sys, numpy
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

class Images(CalibrationDataReader):
    def __init__(self):
        self.left = iter(numpy.load(sys.argv[2]))

    def get_next(self):
        image = next(self.left, None)
        return None if image is None else {"images": image[None]}

quant_pre_process(sys.argv[1], sys.argv[3] + ".float")
formats = {"quant_format": QuantFormat.QDQ, "activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
quantize_static(sys.argv[3] + ".float", sys.argv[3], Images(), per_channel=True, **formats)
"""
BY_NNCF = """
import sys, nncf, numpy, onnx
images = nncf.Dataset(numpy.load(sys.argv[2]), lambda image: {"images": image[None]})
made = nncf.quantize(onnx.load(sys.argv[1]), images, subset_size=len(numpy.load(sys.argv[2], mmap_mode="r")))
onnx.save(made, sys.argv[3])
"""
BY_CONVSMITH = """
import sys, convsmith as cs
made = cs.quantize(sys.argv[1], sys.argv[2], sys.argv[3], max_drop=100, images=int(sys.argv[4]))
"""
FAMILIES = ("resnet50", "resnest50", "convnext_tiny", "mobilenet_v2", "hrnet_w18_seg")
CALLS = 4  # of one form in a row
Images = NDArray[np.uint8]


def tell(what: str, done: int, total: int | None) -> None:
    """One line for each thing that is done."""
    if done == total:
        print(f"  {what}: {done}", flush=True)


def float_bundle(weights: Path, data: Path, place: Path) -> Path:
    """The official ResNet-20 as a bundle."""
    recipe = cs.load_recipe("cifar_resnet20-cifar10", [f"model.weights={weights}", "schedule.epochs=0"])
    return cs.train(recipe, data, place).bundle


def show(bundle: Path, data: Path, out: Path, images: int, max_drop: float) -> dict[str, Any]:
    """Quantize a bundle and print what is said of it."""
    report = quantize_bundle(bundle, data, out, images=images, max_drop=max_drop, progress=tell)
    for name, form in (("float", report.float_model), ("INT8", report.int8_model)):
        figures = f"{form.latency_ms:8.2f} ms {form.images_per_second:8.1f} images/s"
        print(f"{name:6} {form.bytes / 1e6:7.2f} MB {figures}  {report.metric} {form.metrics[report.metric]:.2%}")
    agreement, ratio = report.parity["top1_agreement"], report.int8_model.bytes / report.float_model.bytes
    print(
        f"drop {report.drop:+.2f} points, {ratio:.1%} of the size, {agreement:.2%} of answers the same, {report.rule}"
    )
    print(f"float layers: {[layer.name for layer in report.float_layers]}; kernels: {dict(kernels_of(out))}")
    return report.to_dict()


def kernels_of(bundle: Path) -> dict[str, int]:
    """The operators that onnxruntime runs for a bundle."""
    return kernels((bundle / "model.onnx").read_bytes())


def compare_training(weights: Path, data: Path, epochs: int, fraction: float) -> dict[str, float]:
    """Top-1 of the same fine-tuning in float, in INT8 after it, and for INT8 from the start."""
    words = [f"model.weights={weights}", f"schedule.epochs={epochs}", f"sampling.fraction={fraction}"]
    words += ["schedule={name: cosine, warmup_epochs: 0}", "optimizer.lr=0.01", "eval_every=1", "data.workers=0"]
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        runs = {}
        for name, extra in (("float", []), ("training", ["quantization_aware={}"])):
            recipe = cs.load_recipe("cifar_resnet20-cifar10", [*words, *extra])
            runs[name] = cs.train(recipe, data, Path(folder) / name).bundle
        figures["float"] = evaluate_bundle(runs["float"], data).top1
        figures["INT8 after training"] = quantize_bundle(runs["float"], data, Path(folder) / "int8").int8_model.metrics[
            "top1"
        ]
        figures["INT8 in training"] = evaluate_bundle(runs["training"], data).top1
    for name, top1 in figures.items():
        print(f"{name:20} {top1:.2%}")
    return figures


def compare_peers(bundle: Path, photos: Path, images: int, nncf: str | None) -> dict[str, dict[str, float]]:
    """Seconds and processor seconds of each way, and how far its logits are from the floats' on other images."""
    opened, files = cs.load(bundle), sorted(photos.rglob("*.[jJ][pP]*[gG]"))
    rows: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part, count in (("train", 2 * images), ("val", len(files))):
            for i in range(count):
                place = folder / "data" / part / str(opened.labels[i % len(opened.labels)]) / f"{i}.jpg"
                place.parent.mkdir(parents=True, exist_ok=True)
                place.symlink_to(files[i % len(files)].resolve())
        pixels = np.stack([opened.preprocess(files[i % len(files)]) for i in range(images)])
        np.save(folder / "images.npy", pixels)
        floats, given = str(bundle / "model.onnx"), str(folder / "images.npy")
        ways = {
            "convsmith": [
                sys.executable,
                "-c",
                BY_CONVSMITH,
                str(bundle),
                str(folder / "data"),
                str(folder / "convsmith"),
            ],
            "onnxruntime": [sys.executable, "-c", BY_ONNXRUNTIME, floats, given, str(folder / "onnxruntime.onnx")],
        }
        ways["convsmith"].append(str(images))
        if nncf:
            ways["NNCF"] = [nncf, "-c", BY_NNCF, floats, given, str(folder / "NNCF.onnx")]
        else:
            print("NNCF is left out: --nncf names no Python")
        wanted = opened.logits(pixels[:64])
        print("| way | seconds | processor seconds | dB above the noise |\n|---|---|---|---|")
        for way, words in ways.items():
            begin, before = time.perf_counter(), os.times()
            subprocess.run(words, check=True, capture_output=True)
            after, seconds = os.times(), time.perf_counter() - begin
            made = folder / (f"{way}.onnx" if way != "convsmith" else "convsmith/model.onnx")
            apart = Parity()
            apart.add(wanted, OnnxRuntime(made.read_bytes()).run(pixels[:64]))
            spent = after.children_user + after.children_system - before.children_user - before.children_system
            rows[way] = {"seconds": seconds, "processor": spent, "snr_db": apart.distance()["snr_db"]}
            print(f"| {way} | {seconds:.1f} | {spent:.1f} | {rows[way]['snr_db']:.1f} |", flush=True)
    return rows


def lively(name: str, size: tuple[int, int]) -> torch.nn.Module:
    """A model no branch of which is zero, with BatchNorm's statistics of a few passes."""
    torch.manual_seed(0)
    model = cs.create_model(name).train()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.ndim == 1 and float(parameter.abs().max()) < 1e-3 and not key.endswith("bias"):
                parameter.fill_(0.2)
        for _ in range(3):
            model(torch.randn(4, 3, *size))
    return model.eval()


def with_openvino(content: bytes, threads: int) -> tuple[Callable[[Images], object], str]:
    """An ONNX model in OpenVINO, and the precision that it chose."""
    core = openvino.Core()
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    compiled = core.compile_model(core.read_model(content), "CPU", settings)
    request = compiled.create_infer_request()
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    return lambda images: request.infer([images]), precision


def measure(name: str, side: int, threads: int, rounds: int) -> dict[str, Any]:
    """Latency of one image and throughput of eight, of five forms of a model."""
    is_masks = name.endswith(("_seg", "_ocr"))
    spec = WholeImage(method="whole") if is_masks else Preprocess(resize=side, crop=side)
    exact = inference_model(lively(name, (side, side)), spec)
    content = export_onnx(exact, (side, side), any_size=is_masks)
    generator = np.random.RandomState(0)
    one, many = (generator.randint(0, 256, (count, 3, side, side), np.uint8) for count in (1, 8))
    graph = Graph.load(content)
    placement = place(graph)

    def feed(run: Infer) -> None:
        run(many)

    int8 = insert_qdq(graph, placement, calibrate(graph, placement.rounded, feed)["minmax"])
    eager, (ov, precision), (ov8, _) = exact.eval(), with_openvino(content, threads), with_openvino(int8, threads)
    forms: dict[str, Callable[[Images], object]] = {
        "torch eager fp32": lambda images: eager(torch.from_numpy(images)),
        "onnxruntime fp32": OnnxRuntime(content, threads).run,
        f"openvino {precision}": ov,
        "onnxruntime INT8": OnnxRuntime(int8, threads).run,
        "openvino INT8": ov8,
    }
    row: dict[str, Any] = {"model": name, "size": side, "threads": threads, "ratio": len(int8) / len(content)}
    with torch.inference_mode():
        for what, images in (("ms", one), ("images/s", many)):
            seconds: dict[str, list[float]] = {form: [] for form in forms}
            for _ in range(rounds):
                for form, run in forms.items():
                    for call in range(1 + CALLS):  # at the first, threads of the form before still spin
                        start = time.perf_counter()
                        run(images)
                        if call:
                            seconds[form].append(time.perf_counter() - start)
            medians = {form: statistics.median(values) for form, values in seconds.items()}
            row[what] = {form: 1000 * s if what == "ms" else 8 / s for form, s in medians.items()}
    print(f"{name}, {side}x{side}, {threads} threads, INT8 is {row['ratio']:.1%} of the size")
    for form in forms:
        gain = row["ms"]["onnxruntime fp32"] / row["ms"][form]
        print(f"  {form:18} {row['ms'][form]:8.2f} ms  {row['images/s'][form]:8.1f} images/s of batch 8  x{gain:.2f}")
    print(f"  INT8 kernels: {dict(kernels(int8).most_common())}", flush=True)
    return row


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="file for the same figures")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("accuracy", "weights"), ("training", "weights"), ("bundle", "bundle")):
        command = commands.add_parser(name)
        command.add_argument(what, type=Path)
        command.add_argument("--data", type=Path, required=True)
        command.add_argument("--images", type=int, default=512)
        command.add_argument("--max-drop", type=float, default=0.1)
        command.add_argument("--epochs", type=int, default=1)
        command.add_argument("--fraction", type=float, default=0.2)
    peers = commands.add_parser("peers")
    peers.add_argument("bundle", type=Path)
    peers.add_argument("--photos", type=Path, required=True)
    peers.add_argument("--images", type=int, default=300)
    peers.add_argument("--nncf", help="Python of an environment with NNCF")
    speed = commands.add_parser("speed")
    speed.add_argument("models", nargs="*", default=list(FAMILIES))
    speed.add_argument("--threads", type=int, default=2)
    speed.add_argument("--side", type=int, default=224)
    speed.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    result: Any
    if options.command == "speed":
        torch.set_num_threads(options.threads)
        result = [measure(name, options.side, options.threads, options.rounds) for name in options.models]
    elif options.command == "peers":
        result = compare_peers(options.bundle, options.photos, options.images, options.nncf)
    elif options.command == "training":
        result = compare_training(options.weights, options.data, options.epochs, options.fraction)
    else:
        with tempfile.TemporaryDirectory() as folder:
            bundle = options.bundle if options.command == "bundle" else None
            bundle = bundle or float_bundle(options.weights, options.data, Path(folder) / "float")
            result = show(bundle, options.data, Path(folder) / "int8", options.images, options.max_drop)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
