"""Torch's exporter, warm: it looks through all its operators for each model, and here once for a process."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import nn

from convsmith.deploy.onnx_export import quiet

with suppress(ImportError, AttributeError):  # it is torch's own matter, and may change
    _registry = import_module("torch.onnx._internal.exporter._registration").ONNXRegistry
    _registry.from_torchlib = staticmethod(cache(_registry.from_torchlib))

    _decompositions: Any = import_module("torch.onnx._internal.exporter._decomp")
    _find = cache(_decompositions.create_onnx_friendly_decomposition_table)

    def _copy_of_table(operators: set[Any]) -> dict[Any, Any]:
        return dict(_find(frozenset(operators)))

    _decompositions.create_onnx_friendly_decomposition_table = _copy_of_table

    _programs: Any = import_module("torch.export.exported_program")
    _programs._collect_all_valid_cia_ops = cache(_programs._collect_all_valid_cia_ops)
import_module("tqdm").tqdm.monitor_interval = 0  # which starts a thread, and processes are forked from this one
with quiet():
    torch.onnx.export(nn.Flatten(), (torch.zeros(1, 2, 2),), dynamo=True, verbose=False)
