"""convsmith: from a folder of images to a served, verified model, with the published ConvNet recipes.

Everything public is here. Names are imported when they are first used, so that `import convsmith` is instant and
prediction needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from convsmith.errors import ConvsmithError, missing_package

if TYPE_CHECKING:
    import convsmith.jobs.ray_data as ray
    from convsmith.analyze.benchmark import benchmark
    from convsmith.analyze.check_data import check_data
    from convsmith.analyze.compare import compare
    from convsmith.analyze.doctor import examine as doctor
    from convsmith.analyze.evaluate import evaluate_bundle as evaluate
    from convsmith.analyze.explain import explain
    from convsmith.analyze.lr_finder import find_lr as lr_find
    from convsmith.analyze.profile import profile_training as profile
    from convsmith.analyze.report.make_report import report
    from convsmith.bundle.classification import Classification
    from convsmith.bundle.figures.evaluation import Evaluation
    from convsmith.bundle.images.image_error import ImageError
    from convsmith.bundle.multilabel import Multilabel
    from convsmith.bundle.predictor import Bundle, load
    from convsmith.bundle.segmentation import Segmentation
    from convsmith.jobs.ablation import ablate
    from convsmith.jobs.calibrate import calibrate
    from convsmith.jobs.distil import distil
    from convsmith.jobs.embed import embed
    from convsmith.jobs.export import export
    from convsmith.jobs.make import make
    from convsmith.jobs.predict import Predictions, predict
    from convsmith.jobs.predict_into import predict_into
    from convsmith.jobs.push import push
    from convsmith.jobs.quantize import quantize
    from convsmith.jobs.train import train
    from convsmith.models.registry import create_model, list_models
    from convsmith.models.weights.load import load_weights
    from convsmith.models.weights.published import Weights, list_weights, weights
    from convsmith.recipe.load import load_recipe
    from convsmith.recipe.packaged import list_recipes
    from convsmith.recipe.plan import Plan
    from convsmith.recipe.schema import Recipe
    from convsmith.training.model_plan import plan
    from convsmith.training.run import Run

__version__ = "0.2.0"

_HOME = {
    "Bundle": "bundle.predictor:Bundle",
    "Classification": "bundle.classification:Classification",
    "Evaluation": "bundle.figures.evaluation:Evaluation",
    "ImageError": "bundle.images.image_error:ImageError",
    "Multilabel": "bundle.multilabel:Multilabel",
    "Plan": "recipe.plan:Plan",
    "Predictions": "jobs.predict:Predictions",
    "Recipe": "recipe.schema:Recipe",
    "Run": "training.run:Run",
    "Segmentation": "bundle.segmentation:Segmentation",
    "Weights": "models.weights.published:Weights",
    "ablate": "jobs.ablation:ablate",
    "benchmark": "analyze.benchmark:benchmark",
    "calibrate": "jobs.calibrate:calibrate",
    "check_data": "analyze.check_data:check_data",
    "compare": "analyze.compare:compare",
    "create_model": "models.registry:create_model",
    "distil": "jobs.distil:distil",
    "doctor": "analyze.doctor:examine",
    "embed": "jobs.embed:embed",
    "evaluate": "analyze.evaluate:evaluate_bundle",
    "explain": "analyze.explain:explain",
    "export": "jobs.export:export",
    "list_models": "models.registry:list_models",
    "list_recipes": "recipe.packaged:list_recipes",
    "list_weights": "models.weights.published:list_weights",
    "load": "bundle.predictor:load",
    "load_recipe": "recipe.load:load_recipe",
    "load_weights": "models.weights.load:load_weights",
    "lr_find": "analyze.lr_finder:find_lr",
    "make": "jobs.make:make",
    "plan": "training.model_plan:plan",
    "predict": "jobs.predict:predict",
    "predict_into": "jobs.predict_into:predict_into",
    "profile": "analyze.profile:profile_training",
    "push": "jobs.push:push",
    "quantize": "jobs.quantize:quantize",
    "ray": "jobs.ray_data:",
    "report": "analyze.report.make_report:report",
    "train": "jobs.train:train",
    "weights": "models.weights.published:weights",
}

__all__ = [
    "Bundle",
    "Classification",
    "ConvsmithError",
    "Evaluation",
    "ImageError",
    "Multilabel",
    "Plan",
    "Predictions",
    "Recipe",
    "Run",
    "Segmentation",
    "Weights",
    "__version__",
    "ablate",
    "benchmark",
    "calibrate",
    "check_data",
    "compare",
    "create_model",
    "distil",
    "doctor",
    "embed",
    "evaluate",
    "explain",
    "export",
    "list_models",
    "list_recipes",
    "list_weights",
    "load",
    "load_recipe",
    "load_weights",
    "lr_find",
    "make",
    "plan",
    "predict",
    "predict_into",
    "profile",
    "push",
    "quantize",
    "ray",
    "report",
    "train",
    "weights",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'convsmith' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    try:
        home = import_module(f"convsmith.{module}")
        value = getattr(home, attribute) if attribute else home
    except ModuleNotFoundError as error:
        raise missing_package(error) or error from error
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
