"""Torch's exporter, warm: it parses the sources of all its operators for each model, and here once for a process."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib import import_module

import torch
from torch import nn

from convsmith.deploy.onnx_export import quiet

with suppress(ImportError, AttributeError):  # it is torch's own matter, and may change
    _operators = import_module("torch.onnx._internal.exporter._registration").onnxscript_apis
    _operators.get_torchlib_ops = cache(_operators.get_torchlib_ops)
import_module("tqdm").tqdm.monitor_interval = 0  # which starts a thread, and processes are forked from this one
with quiet():
    torch.onnx.export(nn.Flatten(), (torch.zeros(1, 2, 2),), dynamo=True, verbose=False)
