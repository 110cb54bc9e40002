"""The part of a plan that needs the model: groups, parameters, multiply-adds, memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from convsmith.errors import ConvsmithError
from convsmith.launch.world import World
from convsmith.models.base import VisionModel
from convsmith.models.checkpointing import Blocks
from convsmith.models.fake_quant import train_for_int8
from convsmith.models.registry import check_weights, create_model, create_trained_model
from convsmith.models.weights.class_names import fit_head_to_classes
from convsmith.processor import largest_weight
from convsmith.recipe.costs import Cost, plan_within
from convsmith.recipe.plan import Group, Plan
from convsmith.recipe.schema import Recipe
from convsmith.spec import Size
from convsmith.tasks.base import find_training
from convsmith.training.precision import Precision, autocast, device_memory, pick_device, pick_precision
from convsmith.training.run_weights import weights_of_run
from convsmith.training.settle import settled
from convsmith.training.update.groups import parameter_groups
from convsmith.training.update.optim import STATE_SLOTS
from convsmith.training.update.tricks import EachEpoch, highest, prepare


@dataclass(frozen=True)
class Measured:
    """A recipe's model without values, in the mode that computes without, its groups, and what training it takes."""

    model: VisionModel
    mode: FakeTensorMode
    groups: tuple[Group, ...]
    cost: Cost


def plan(recipe: Recipe, num_samples: int, nodes: int = 1, devices: int = 1, extra_samples: int | None = None) -> Plan:
    """The complete plan of a training.

    With `batch.per_device: auto`, the per-device batch is the largest whose estimated memory fits the device that
    is here (a CPU's memory is shared by its `devices` processes).

    Args:
        recipe: what to train.
        num_samples: images in the training split.
        nodes: machines.
        devices: GPUs, or CPU processes, of each machine.
        extra_samples: images that an extra phase learns from; None: the same as in training.

    Raises:
        ConvsmithError: the effective batch cannot be divided, the model or its weights are unknown, or it does not take
            such images or learn from one at a time.

    Examples:
        >>> plan = cs.plan(cs.load_recipe("digits"), num_samples=1438, devices=2)
        >>> plan.world_size, plan.steps_per_epoch, plan.total_steps
        (2, 23, 276)
    """
    recipe = settled(recipe)
    device = pick_device()
    precision = pick_precision("auto", device) if recipe.precision == "auto" else recipe.precision
    measured = measure(recipe, precision)
    memory = device_memory(device) / (devices if device.type == "cpu" else 1)
    solved = plan_within(
        memory, measured.cost, recipe, num_samples, nodes=nodes, devices=devices, extra_samples=extra_samples
    )
    if solved.per_device_batch == 1 and solved.total_steps:
        with _quietly(measured.mode):
            _check_single_images(measured.model, recipe, solved)
    return replace(solved, groups=measured.groups)


def measure(recipe: Recipe, precision: Precision) -> Measured:
    """Costs of training the recipe's model in that arithmetic.

    Raises:
        ConvsmithError: the model or its weights are unknown, or it does not take such images.
    """
    with torch.device("meta"):  # shapes without memory or arithmetic
        model = build_model(recipe)
    if recipe.model.weights is not None and not Path(recipe.model.weights).is_dir():
        check_weights(recipe.model.weights, recipe.model.name)
    task = find_training(recipe.task)
    task.check_model(recipe, model)
    prepare(model, recipe)
    groups = parameter_groups(model, recipe.optimizer)
    params = sum(p.numel() for p in model.parameters())
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    model.requires_grad_(True)  # frozen layers keep nothing for a backward pass, but their forward pass takes room too
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with _quietly(mode):  # the same on a device that autocast knows
        model = model.to_empty(device="cpu")
        gmacs = _gmacs(model, recipe.input_size)
        if recipe.bundle.embeddings:
            _check_embeddings(model, recipe.input_size)
        # one image would not do: BatchNorm refuses to train on a single value per channel
        two, three = (_activation_bytes(model, n, recipe.augment.size, precision) for n in (2, 3))
    per_sample = three - two + task.loss_bytes(recipe, model)
    # weights and their average; gradients and the optimizer's state
    floats = params * (1 + (recipe.ema is not None)) + learning * (1 + STATE_SLOTS[recipe.optimizer.name])
    fixed = 4 * floats + (3 * two - 2 * three)
    counts = [[len(group.names), group.weight_decay, group.lr_scale] for group in groups]
    return Measured(model, mode, groups, Cost(learning, gmacs, fixed, per_sample, counts))


@contextmanager
def _quietly(mode: FakeTensorMode) -> Iterator[None]:
    """Compute in the mode, and leave it to the error of an operator that fails to say so."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with mode:
            yield
    finally:
        log.setLevel(level)


def replan(recipe: Recipe, before: Plan, per_device_batch: int, world: World) -> Plan:
    """The same plan with so many images in a forward pass."""
    batch = recipe.batch.model_copy(update={"per_device": per_device_batch})
    extra_samples = before.extra["num_samples"] if before.extra else None
    recipe = recipe.model_copy(update={"batch": batch})
    return plan(recipe, before.num_samples, *world.grid, extra_samples=extra_samples)


def build_model(recipe: Recipe, weights: str | None = None, classes: Sequence[str] | None = None) -> VisionModel:
    """The recipe's model, with random initial weights or those named.

    Args:
        recipe: what to train.
        weights: as `create_model` takes them, or a run directory, which stands for its best step, or one of its steps.
        classes: names of the data's classes, where they are to count and not their number alone.

    Raises:
        ConvsmithError: there is no such model or option, or the weights cannot be had or do not fit; nor may they leave
            the head at random where nothing is trained.
    """
    name, count, key = recipe.model.name, recipe.model.num_classes, recipe.model.weights_key
    options = recipe.model_options
    if recipe.model.drop_path is not None:
        options["drop_path"] = highest(recipe.model.drop_path)
    file: str | Path | None = weights
    if weights is not None and Path(weights).is_dir():
        file, key = weights_of_run(Path(weights), key), "auto"
    if file is not None and recipe.schedule.epochs == 0:
        model = create_trained_model(name, count, file, key, **options)
    else:
        model = create_model(name, count, file, key, **options)
    if file is not None and classes is not None:
        fit_head_to_classes(model, file, classes, trained=recipe.schedule.epochs == 0)
    if recipe.quantization_aware is not None:
        int8 = recipe.quantization_aware
        train_for_int8(model, recipe.augment.size, int8.range_momentum, largest_weight(int8.target))
    return model


def _check_single_images(model: nn.Module, recipe: Recipe, plan: Plan) -> None:
    """Raise a ConvsmithError if the model cannot learn from one image at a time, as some with BatchNorm cannot."""
    EachEpoch(model, recipe, plan).begin(plan.total_epochs - 1)  # a frozen BatchNorm can
    height, width = recipe.augment.size
    try:
        model(torch.empty(1, recipe.data.channels, height, width))
    except ValueError as error:
        raise ConvsmithError(
            f"`{recipe.model.name}` cannot be trained on one image of {height}x{width} pixels at a time",
            "where a channel comes down to a single value, BatchNorm has nothing to take a mean over",
            "Set batch.per_device to 2 or more, and batch.size to a multiple of it.",
        ) from error


def _check_embeddings(model: VisionModel, size: Size) -> None:
    """Raise a ConvsmithError if a bundle could not have embeddings."""
    images = torch.empty(2, model.in_channels, *size)
    try:
        _, rows = model.eval().with_embeddings(images, model)
    except ConvsmithError as error:
        raise ConvsmithError(f"bundle.embeddings: {error.what}", error.why, "Set bundle.embeddings=false.") from error
    if rows.ndim != 2 or len(rows) != 2:
        raise ConvsmithError(
            "bundle.embeddings: the model's features are not a row for each image",
            f"two images give {list(rows.shape)}",
            "Set bundle.embeddings=false.",
        )


def _gmacs(model: VisionModel, size: Size) -> float:
    """1e9 multiply-adds of one image's forward pass: convolutions, linear layers and matrix products only."""
    model.eval().requires_grad_(False)  # the counter follows what learns, and fails where a parameter is an input
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.empty(1, model.in_channels, *size))
    model.requires_grad_(True)
    return float(counter.get_total_flops()) / 2 / 1e9


def _activation_bytes(model: VisionModel, batch: int, size: Size, precision: Precision) -> int:
    """Bytes of activations at the worst moment of a step."""
    kept = _saved_bytes(model, batch, size, precision, {})
    groups = [module for module in model.modules() if isinstance(module, Blocks) and module.recompute]
    if not groups:
        return kept
    # The backward pass computes one block again, and keeps for that what it would have kept without checkpointing.
    saved: dict[int, int] = {}
    before: dict[nn.Module, int] = {}
    largest = 0

    def enter(block: nn.Module, _inputs: object) -> None:
        before[block] = sum(saved.values())

    def leave(block: nn.Module, _inputs: object, _output: object) -> None:
        nonlocal largest
        largest = max(largest, sum(saved.values()) - before[block])

    blocks = [block for group in groups for block in group]
    hooks = [block.register_forward_pre_hook(enter) for block in blocks]
    hooks += [block.register_forward_hook(leave) for block in blocks]
    model.gradient_checkpointing(False)
    _saved_bytes(model, batch, size, precision, saved)
    model.gradient_checkpointing()
    for hook in hooks:
        hook.remove()
    return kept + largest


def _saved_bytes(model: VisionModel, batch: int, size: Size, precision: Precision, saved: dict[int, int]) -> int:
    """Bytes that a forward pass keeps for the backward pass, the parameters themselves not counted.

    `saved`, by storage, grows while the pass goes on.
    """
    model.train()
    own = {tensor.untyped_storage()._cdata for tensor in model.state_dict().values()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            saved[storage._cdata] = storage.nbytes()
        return tensor

    # The activations are alike on every device; the CPU's autocast rules stand for all.
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), autocast(precision, "cpu"):
        output = model(torch.empty(batch, model.in_channels, *size))
    last = output[-1] if isinstance(output, list) else output
    assert last.requires_grad  # holds the graph, and with it the storages whose addresses were counted
    return sum(saved.values())
