"""What processes that tests fork begin with: loaded, and out of sight of the garbage collector, which would copy it."""

from __future__ import annotations

import gc
from importlib import import_module

for name in (
    "tests.training.ranks",
    "convsmith.training.train",
    "convsmith.training.parallel.sharding",
    "convsmith.data.augment.transform",
    "convsmith.deploy.bundle",
    "torch._dynamo",
    "torch.utils.tensorboard.summary",
    "convsmith.analyze.report.at_end",
    "convsmith.cli.main",
    "convsmith.cli.evaluate",
    "convsmith.cli.predict",
    "convsmith.cli.train",
    "tests.exporter",
):
    import_module(name)
gc.collect()
gc.freeze()
