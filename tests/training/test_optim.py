from __future__ import annotations

import torch

from convsmith.models.registry import create_model
from convsmith.recipe.optimization import AdamW, Sgd
from convsmith.training.optim import make_optimizer, optimizer_tensors, parameter_groups, restore_optimizer


def test_without_special_rules_one_group_holds_every_parameter() -> None:
    model = create_model("cifar_resnet20")
    (group,) = parameter_groups(model, Sgd(name="sgd", weight_decay=1e-4))
    assert group.names == tuple(name for name, _ in model.named_parameters())
    assert (group.weight_decay, group.lr_scale) == (1e-4, 1.0)


def test_norms_and_biases_have_their_own_weight_decay() -> None:
    model = create_model("resnet18")
    rules = AdamW(name="adamw", weight_decay=0.05, norm_weight_decay=0.0, bias_weight_decay=0.01)
    names = {group.weight_decay: group.names for group in parameter_groups(model, rules)}
    assert names[0.01] == ("fc.bias",)
    assert {"bn1.weight", "bn1.bias", "layer1.0.bn1.weight", "layer2.0.downsample.1.bias"} <= set(names[0.0])
    assert all(name.endswith("weight") and "bn" not in name for name in names[0.05])
    assert sum(map(len, names.values())) == len(list(model.parameters()))


def test_frozen_parameters_are_in_no_group() -> None:
    model = create_model("cifar_resnet20")
    model.conv1.requires_grad_(False)
    (group,) = parameter_groups(
        model,
        Sgd(
            name="sgd",
        ),
    )
    assert "conv1.weight" not in group.names


def test_a_restored_optimizer_takes_the_same_next_step() -> None:
    for recipe in (Sgd(name="sgd", momentum=0.9, nesterov=True), AdamW(name="adamw")):
        results = []
        for restored in (False, True):
            torch.manual_seed(0)
            model = torch.nn.Linear(3, 2)
            groups = parameter_groups(model, recipe)
            optimizer = make_optimizer(model, recipe, groups)
            for step in range(3):
                if restored and step == 2:
                    saved = {key: value.clone() for key, value in optimizer_tensors(optimizer).items()}
                    optimizer = make_optimizer(model, recipe, groups)
                    restore_optimizer(optimizer, saved)
                optimizer.zero_grad()
                model(torch.ones(1, 3)).square().sum().backward()
                optimizer.step()
            results.append(model.weight.detach().clone())
        assert torch.equal(*results)
