"""Measures what training the models of packaged recipes takes, and writes it to `recipe/costs.json`.

`python -m convsmith.training.measure_costs` measures what the file does not say yet of a recipe as it is, and
all anew where the file is `{}`.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import convsmith.recipe
from convsmith.errors import ConvsmithError
from convsmith.recipe.costs import Cost, cost_key, read_costs
from convsmith.recipe.load import load_recipe
from convsmith.recipe.packaged import list_recipes
from convsmith.training.model_plan import measure
from convsmith.training.precision import Precision
from convsmith.training.settle import settled

CPU_PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")


def main() -> None:
    """Write the file."""
    known, costs = read_costs(), dict[str, Cost]()
    for recipe in map(load_recipe, list_recipes()):
        for precision in CPU_PRECISIONS:
            key = cost_key(recipe, precision)
            with contextlib.suppress(ConvsmithError):  # a recipe may need classes that only its data have
                costs[key] = costs.get(key) or known.get(key) or measure(settled(recipe), precision).cost
    lines = (f"{json.dumps(name)}: {json.dumps(cost)}" for name, cost in sorted(costs.items()))
    file = Path(convsmith.recipe.__path__[0]) / "costs.json"
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
