from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from convsmith.recipe.objective import Distillation
from convsmith.tasks.distillation import Distiller, divergence, logits_distance, pixel_distance, similarity_distance
from tests.tasks.tiny import batch, tiny
from tests.tasks.training_goldens import cases, gradient_norm, normal

TEACHER = {"model": "cifar_resnet20", "weights": "teacher.pth"}


def spec(**values: Any) -> Distillation:
    return Distillation.model_validate({"teacher": TEACHER, **values})


@pytest.mark.parametrize("case", cases("distill"))
def test_the_divergence_is_that_of_torch_and_of_timm(case: dict[str, Any]) -> None:
    given, out = case["in"], case["out"]
    random, shape, temperature = (
        np.random.RandomState(given["seed"]),
        (given["B"], given["classes"]),
        given["temperature"],
    )
    student, teacher = (
        torch.from_numpy(random.randn(*shape) * given[f"{who}_scale"]) for who in ("student", "teacher")
    )
    labels = torch.from_numpy(random.randint(0, shape[1], shape[0]))
    student.requires_grad_()
    for squared, ending in ((False, ""), (True, "_times_T2")):
        kl = divergence(student, teacher, temperature, squared)
        assert kl.item() == pytest.approx(out[f"kl_batchmean{ending}"], rel=1e-9)
        assert gradient_norm(kl, student) == pytest.approx(out[f"grad_l2_of_kl{ending}"], rel=1e-8)
    for timm in out["timm_LogitDistillationTask"]:
        ours = timm["task_weight"] * F.cross_entropy(student, labels)
        ours = ours + timm["distill_weight"] * divergence(student, teacher, temperature)
        assert ours.item() == pytest.approx(timm["loss"], rel=1e-9)
        assert gradient_norm(ours, student) == pytest.approx(timm["grad_l2"], rel=1e-8)


@pytest.mark.parametrize("kind", ["logits", "hard"])
def test_the_distance_of_pixels_is_that_of_images_over_those_that_count(kind: str) -> None:
    given = spec(kind=kind)
    student, teacher = normal(0, 2, 4, 3, 5), normal(1, 2, 4, 3, 5)
    masks = torch.zeros(2, 3, 5, dtype=torch.uint8)
    masks[0, 1:] = 255
    own, wanted = (x.permute(0, 2, 3, 1)[masks == 0] for x in (student, teacher))
    assert len(own) == 20
    torch.testing.assert_close(pixel_distance(given, student, teacher, masks), logits_distance(given, own, wanted))


def test_a_teachers_pixels_are_brought_to_the_size_of_the_students() -> None:
    student, masks = normal(0, 1, 4, 3, 5), torch.zeros(1, 6, 10, dtype=torch.uint8)
    teacher = student.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert pixel_distance(spec(), student, teacher, masks).item() == pytest.approx(0, abs=1e-6)


def test_pixels_none_of_which_counts_teach_nothing() -> None:
    student = normal(0, 1, 4, 3, 5).requires_grad_()
    distance = pixel_distance(spec(), student, normal(1, 1, 4, 3, 5), torch.full((1, 3, 5), 255, dtype=torch.uint8))
    distance.backward()  # type: ignore[no-untyped-call]
    assert distance == 0
    assert student.grad is not None
    assert not student.grad.any()


def test_the_distance_of_similarities_is_its_formula() -> None:
    student, teacher = normal(0, 6, 5), normal(1, 6, 9)
    expected = 0.0
    for i in range(6):
        rows = [torch.stack([x[i] @ x[j] for j in range(6)]) for x in (student, teacher)]
        expected += float(((rows[0] / rows[0].norm() - rows[1] / rows[1].norm()) ** 2).sum())
    assert similarity_distance(student, teacher).item() == pytest.approx(expected / 36)


def test_the_distance_of_similarities_does_not_see_the_scale_of_features() -> None:
    features = normal(0, 6, 5)
    assert similarity_distance(features, 3 * features).item() == pytest.approx(0, abs=1e-12)


def test_a_teachers_own_logits_are_at_no_distance() -> None:
    images, _ = batch()
    model = tiny()
    logits, distance = Distiller(spec(), lambda x: model(x).detach(), model)(model, images)
    assert torch.equal(logits, model(images))
    assert distance.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("temperature", "squared"), [(1.0, True), (3.0, True), (3.0, False)])
def test_logits_are_compared_at_the_recipes_temperature(temperature: float, squared: bool) -> None:
    images, _ = batch()
    model, teacher = tiny(0), tiny(1)
    given = spec(temperature=temperature, times_squared_temperature=squared)
    _, distance = Distiller(given, lambda x: teacher(x).detach(), model)(model, images)
    assert distance.item() == pytest.approx(divergence(model(images), teacher(images), temperature, squared).item())


def test_hard_distillation_learns_the_teachers_best_class() -> None:
    images, _ = batch()
    model, teacher = tiny(0), tiny(1)
    _, distance = Distiller(spec(kind="hard"), lambda x: teacher(x).detach(), model)(model, images)
    assert distance.item() == pytest.approx(F.cross_entropy(model(images), teacher(images).argmax(1)).item())


def teach_features(seed: int = 1) -> Callable[[Tensor], Tensor]:
    teacher = tiny(seed, features=7)
    return lambda images: teacher.forward_features(images).detach()


def expected_distance(model: nn.Module, images: Tensor) -> float:
    features = model.get_submodule("conv")(images).relu().mean((2, 3))
    return 3000 * similarity_distance(features, teach_features()(images)).item()


def test_a_pass_without_gradients_compares_features_too() -> None:
    images, _ = batch()
    model = tiny()
    learn = Distiller(spec(kind="features"), teach_features(), model)
    with torch.no_grad():  # as when a diverged training looks for the layer
        _, distance = learn(model.train(), images)
    assert distance.item() == pytest.approx(expected_distance(tiny(), images), rel=1e-4)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def wrapped_in_ddp(model: nn.Module) -> nn.Module:
    return DistributedDataParallel(model)


def compiled(model: nn.Module) -> nn.Module:
    torch.compiler.reset()
    return torch.compile(model, backend="aot_eager")  # type: ignore[return-value]


@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize("wrap", [lambda model: model, wrapped_in_ddp, compiled])
def test_features_are_compared_whatever_wraps_the_model(wrap: Callable[[nn.Module], nn.Module]) -> None:
    inner, alone = tiny(), tiny()
    learn, model = Distiller(spec(kind="features"), teach_features(), inner), wrap(inner)
    for step in range(3):
        images, _ = batch(seed=step)
        expected = expected_distance(alone, images)
        with torch.no_grad():
            model.eval()(images)  # a validation in between
        model.train()
        logits, distance = learn(model, images)
        assert torch.allclose(logits, alone(images), atol=1e-6)
        assert distance.item() == pytest.approx(expected, rel=1e-4)
        for network, loss in ((model, distance + logits.sum()), (alone, expected_loss(alone, images))):
            network.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
        for own, other in zip(inner.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-5)


def expected_loss(model: nn.Module, images: Tensor) -> Tensor:
    features = model.get_submodule("conv")(images).relu().mean((2, 3))
    logits: Tensor = model.get_submodule("fc")(features)
    return 3000 * similarity_distance(features, teach_features()(images)) + logits.sum()


def test_student_and_teacher_run_once() -> None:
    images, _ = batch()
    runs: list[str] = []
    model, teach = tiny(), teach_features()
    model.conv.register_forward_hook(lambda *_: runs.append("student"))

    def teacher(x: Tensor) -> Tensor:
        runs.append("teacher")
        return teach(x)

    Distiller(spec(kind="features"), teacher, model)(model, images)
    assert sorted(runs) == ["student", "teacher"]


def test_the_tap_leaves_copies_state_and_memory_alone() -> None:
    images, _ = batch()
    model, names = tiny(), list(tiny().state_dict())
    learn = Distiller(spec(kind="features"), teach_features(), model)
    _, distance = learn(model, images)
    average = copy.deepcopy(model)  # as the moving average does, here with a graph alive
    assert list(model.state_dict()) == list(average.state_dict()) == names
    with torch.no_grad():
        average(images)
        model.eval()(images)
    assert learn._tap is not None
    assert learn._tap._features is None
    assert distance.requires_grad


def test_all_is_compared_in_float32_whatever_the_model_computes_in() -> None:
    images, _ = batch()
    for kind in ("logits", "hard", "features"):
        model, teacher = tiny(), teach_features() if kind == "features" else tiny(1)
        learn = Distiller(spec(kind=kind), teacher, model)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits, distance = learn(model, images)
        assert logits.dtype == torch.bfloat16
        assert distance.dtype == torch.float32


def test_a_bundle_cannot_teach_features() -> None:
    with pytest.raises(ValueError, match="a bundle gives logits, no features"):
        spec(kind="features", teacher={"bundle": "runs/x/bundle"})


@pytest.mark.parametrize("key", ["num_classes", "weights"])
def test_a_teachers_options_are_further_ones(key: str) -> None:
    with pytest.raises(ValueError, match=f"{key} is not an option of a teacher"):
        spec(teacher={**TEACHER, "options": {key: 3}})
