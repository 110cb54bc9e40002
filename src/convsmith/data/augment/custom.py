"""A user's own function as a step of the augmentation. It is code, which only a recipe that is trained may name."""

from __future__ import annotations

import hashlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from convsmith.data.augment.draws import below
from convsmith.data.augment.geometry import Change, Sample
from convsmith.errors import ConvsmithError, did_you_mean
from convsmith.spec import IGNORED, Size

Pixels = NDArray[np.uint8]

_TRIALS = 3


class CustomFailed(ConvsmithError):
    """The recipe's own function cannot be used, has failed, or gave something else than what is to be learned from."""

    def on(self, name: str) -> CustomFailed:
        """The same error, with the image that it was met on."""
        return CustomFailed(f"{self.what}, on {name}", self.why, self.fix)


def custom_step(name: str) -> Change:
    """The step that calls the function of that name, such as `mymodule:sharpen`.

    It gets the image, uint8 `[H, W, C]`, its mask, uint8 `[H, W]`, where there is one, and a random generator that is
    seeded for the sample; it returns the image, or both, of the same sizes.

    Raises:
        CustomFailed: there is no such function; and by the step, it fails or returns something else.
    """
    function = _find(name)
    return lambda sample: _changed(sample, function, name)


def try_custom(name: str, size: Size, with_mask: bool, channels: int = 3) -> None:
    """Call the function with noise of that height and width, so that what fails at once fails before the first step.

    Raises:
        CustomFailed: it fails, or returns something else than it must, or another result for the same random numbers.
    """
    step, noise = custom_step(name), np.random.default_rng(0)
    known = (0, 1, IGNORED)
    for seed in range(_TRIALS):
        image = torch.from_numpy(noise.integers(0, 256, (channels, *size), np.uint8))
        mask = torch.from_numpy(noise.choice(np.array(known, np.uint8), size)) if with_mask else None
        twice = []
        for _ in range(2):
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(seed)
                twice.append(step(Sample(image.clone(), None if mask is None else mask.clone())))
        (first, first_mask), (second, second_mask) = twice
        masks_differ = first_mask is not None and second_mask is not None and not torch.equal(first_mask, second_mask)
        if masks_differ or not torch.equal(first, second):
            raise CustomFailed(
                f"augment.custom: `{name}` gives different results for the same image and random generator",
                "so a training that goes on would not be the one that was stopped",
                "Let it draw all random numbers from the generator that it gets, and keep nothing from call to call.",
            )
        if first_mask is not None and (new := {*first_mask.flatten().tolist()} - {*known}):
            raise CustomFailed(
                f"augment.custom: `{name}` puts the class {min(new)} into a mask that has only {known}",
                "classes are not quantities: a mask must not be interpolated",
                "Move masks by the nearest pixel.",
            )


def custom_digest(name: str) -> str:
    """A digest of the source that the function of that name is in.

    Raises:
        CustomFailed: there is no such function.
    """
    function = _find(name)
    digest = hashlib.sha256()
    for content in sorted(_sources(name, function)):
        digest.update(content)
    return digest.hexdigest()


def _sources(name: str, function: Callable[..., Any]) -> set[bytes]:
    """The files of its module and, if that has it from elsewhere, of the function; its own lines where it has none."""
    files = {getattr(sys.modules[name.partition(":")[0]], "__file__", None)}
    with suppress(TypeError):  # an object that can be called
        files.add(inspect.getsourcefile(function))
    found = {Path(file).read_bytes() for file in files if file and Path(file).is_file()}
    if not found:
        with suppress(TypeError, OSError):
            found.add(inspect.getsource(function).encode())
    return found


def _find(name: str) -> Callable[..., Any]:
    module_name, _, path = name.partition(":")
    try:
        with _current_directory_last():
            found: Any = import_module(module_name)
    except Exception as error:  # of code that is not ours
        raise CustomFailed(
            f"augment.custom: `{name}` cannot be imported",
            f"{type(error).__name__}: {error}",
            "Its module must be one that Python finds: in the current directory, below PYTHONPATH, or installed.",
        ) from error
    for part in path.split("."):
        if not hasattr(found, part):
            near = did_you_mean(part, [it for it in vars(found) if not it.startswith("_")])
            raise CustomFailed(f"augment.custom: `{module_name}` has no `{path}`{near}")
        found = getattr(found, part)
    if not callable(found):
        raise CustomFailed(
            f"augment.custom: `{name}` is not a function", f"it is a value of type {type(found).__name__}"
        )
    function: Callable[..., Any] = found
    return function


@contextmanager
def _current_directory_last() -> Iterator[None]:
    """Let modules of the current directory be found too, where no other has their name."""
    here = os.getcwd()  # noqa: PTH109 - as Python writes it
    if {"", here} & set(sys.path):
        yield
        return
    sys.path.append(here)
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(here)


def _changed(sample: Sample, function: Callable[..., Any], name: str) -> Sample:
    image = np.ascontiguousarray(sample.image.permute(1, 2, 0).numpy())
    given = [image] if sample.mask is None else [image, np.ascontiguousarray(sample.mask.numpy())]
    shapes = [array.shape for array in given]
    try:
        returned = function(*given, np.random.default_rng(below(2**63 - 1)))
    except Exception as error:  # of code that is not ours
        raise CustomFailed(
            f"augment.custom: `{name}` failed",
            f"{type(error).__name__}: {error}",
            f"It is called as {_form(sample)}.",
        ) from error
    arrays = (returned,) if sample.mask is None else returned
    fitting = isinstance(arrays, tuple) and len(arrays) == len(shapes)
    if not (fitting and all(_is_like(array, shape) for array, shape in zip(arrays, shapes, strict=True))):
        raise CustomFailed(
            f"augment.custom: `{name}` returned {_described(returned)}",
            f"what is learned from is {' and '.join(f'uint8 {[*shape]}' for shape in shapes)}",
            f"It is called as {_form(sample)}, all arrays of NumPy.",
        )
    tensors = [torch.from_numpy(np.require(array, requirements=["C", "W"])) for array in arrays]
    return Sample(tensors[0].permute(2, 0, 1), tensors[1] if tensors[1:] else None)


def _form(sample: Sample) -> str:
    return "image = function(image, rng)" if sample.mask is None else "image, mask = function(image, mask, rng)"


def _is_like(array: object, shape: tuple[int, ...]) -> bool:
    return isinstance(array, np.ndarray) and array.dtype == np.uint8 and array.shape == shape


def _described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {[*value.shape]}"
    if isinstance(value, tuple):
        return f"({', '.join(map(_described, value))})"
    return f"a value of type {type(value).__name__}"
