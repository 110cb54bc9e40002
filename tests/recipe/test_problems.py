from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convsmith.errors import ConvsmithError
from convsmith.recipe.load import load_recipe
from convsmith.recipe.problems import MAX_PROBLEMS
from convsmith.recipe.schema import Recipe
from convsmith.recipe.yaml_text import write_yaml
from tests.recipe.examples import WHOLE, error_of, write
from tests.recipe.test_yaml_text import VALUES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        # misspelt, in the right section or not
        ("optimiser: {lr: 1, momentum: 0}", "unknown key `optimiser`; did you mean `optimizer`?"),
        ("optimiser: {lr: 1}", "unknown key `optimiser.lr`; did you mean `optimizer.lr`?"),
        ("optimiser: {momentun: 1}", "unknown key `optimiser.momentun`; did you mean `optimizer.momentum`?"),
        ("model: {nme: resnet18}", "unknown key `model.nme`; did you mean `model.name`?"),
        (
            "augment: {random_crop: {pad: 3}}",
            "unknown key `augment.random_crop.pad`; `augment.random_crop` has padding, size",
        ),
        ("epochs: 3", "unknown key `epochs`; did you mean `schedule.epochs`?"),
        ("lr: 3", "unknown key `lr`; did you mean `optimizer.lr`?"),
        ("learning_rate: 3", "unknown key `learning_rate`; did you mean `optimizer.lr`?"),
        ("batch_size: 3", "unknown key `batch_size`; did you mean `batch.size`?"),
        (
            "augment: {size: 3}",
            "unknown key `augment.size`; did you mean "
            "`augment.random_resized_crop.size`, `augment.efficientnet_crop.size` or `augment.random_crop.size`?",
        ),
        ("augment: {mixup: 1}", "unknown key `augment.mixup`; did you mean `mixing.mixup_alpha`?"),
        ("augment: {zzz: 1}", "unknown key `augment.zzz`; `augment` has brightness_shift, color_jitter, "),
        ("gamma: 3", "unknown key `gamma`; did you mean `schedule.gamma` or `loss.gamma`?"),
        ("num_clases: 3", "unknown key `num_clases`; did you mean `model.num_classes`?"),
        (
            "zzz: 1",
            "unknown key `zzz`; a recipe has augment, batch, bundle, channels_last, checkpoint,",
        ),
        ("optimizer: {betas: [0.9, 0.99]}", "unknown key `optimizer.betas` where optimizer.name is `sgd`"),
        # of the wrong kind
        ('optimizer: {lr: "0.1"}', '`optimizer.lr` is the text "0.1", expected a number'),
        ("optimizer: {lr: true}", "`optimizer.lr` is true, expected a number"),
        ("schedule: {epochs: 3.0}", "`schedule.epochs` is 3.0, expected an integer"),
        ("channels_last: yes", '`channels_last` is the text "yes", expected true or false'),
        ("model: {name: 18}", "`model.name` is 18, expected text"),
        ("schedule: 3", "`schedule` is 3, expected a section (keys below it)"),
        ("loss: null", "`loss` is null, expected a section (keys below it)"),
        ("model: {options: [1]}", "`model.options` is [1], expected a section (keys below it)"),
        ("seed: {a: 1, b: 2}", "`seed` is a section, expected an integer"),
        ("optimizer: sgd", '`optimizer` is the text "sgd", expected a section (keys below it)'),
        (
            f"source: {[1] * 100}",
            "`source` is [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,..., expected text",
        ),
        # out of range
        ("seed: -1", "`seed` is -1, expected a number of at least 0"),
        ("optimizer: {lr: 0}", "`optimizer.lr` is 0, expected a number above 0"),
        ("optimizer: {momentum: 1}", "`optimizer.momentum` is 1, expected a number below 1"),
        ("augment: {hflip: 2}", "`augment.hflip` is 2, expected a number of at most 1"),
        ("preprocess: {crop: 1000000}", "`preprocess.crop` is 1000000, expected a number of at most 4096"),
        ("preprocess: {resize: 4097}", "`preprocess.resize` is 4097, expected a number of at most 4096"),
        (
            "augment: {random_crop: {padding: 4097}}",
            "`augment.random_crop.padding` is 4097, expected a number of at most 4096",
        ),
        (
            "augment: {random_crop: {size: 4097}}",
            "`augment.random_crop.size` is 4097, expected a number of at most 4096",
        ),
        (
            "augment: {random_crop: null, random_resized_crop: {size: 4097}}",
            "`augment.random_resized_crop.size` is 4097, expected a number of at most 4096",
        ),
        (
            "augment: {random_crop: null, random_scale_crop: {size: 512}}",
            "`augment.random_scale_crop.size` is 512, expected a list of 2 numbers",
        ),
        (
            "augment: {random_crop: null, random_scale_crop: {size: [8, 8], scale: [0.5, 5]}}",
            "`augment.random_scale_crop.scale[1]` is 5, expected a number of at most 4",
        ),
        (
            "augment: {random_crop: null, random_scale_crop: {size: [8, 8], resize_first: wrap}}",
            '`augment.random_scale_crop.resize_first` is the text "wrap", expected `shorter_side` or `warp`; did you',
        ),
        (
            "augment: {random_crop: null, random_scale_crop: {size: [8, 8], base: 8}}",
            "unknown key `augment.random_scale_crop.base`; `augment.random_scale_crop` has base_size, resize",
        ),
        ("augment: {brightness_shift: 0.1}", "`augment.brightness_shift` is 0.1, expected an integer"),
        ("augment: {downsample_rate: 1}", "unknown key `augment.downsample_rate`; did you mean `augment.mask_down"),
        ("augment: {mask_downsample_rate: 4}", "`augment.mask_downsample_rate` is 4, expected a number of at most 1"),
        ("preprocess: {mean: [0, 2, 0]}", "`preprocess.mean[1]` is 2, expected a number of at most 1"),
        ("preprocess: {mean: 0.5}", "`preprocess.mean` is 0.5, expected a list of numbers"),
        ("optimizer: {lr_scales: [[a]]}", '`optimizer.lr_scales[0]` is ["a"], expected [text, number]'),
        ("optimizer: {lr_scales: [[a, 1], b]}", '`optimizer.lr_scales[1]` is the text "b", expected [text, number]'),
        ("optimizer: {lr_scales: [[a, b]]}", '`optimizer.lr_scales[0][1]` is the text "b", expected a number'),
        ("optimizer: {lr_scales: [[a, 1, 2]]}", '`optimizer.lr_scales[0]` is ["a", 1, 2], expected [text, number]'),
        ("optimizer: {lr_scales: 10}", "`optimizer.lr_scales` is 10, expected a list of lists [text, number]"),
        ("freeze: {names: [3]}", "`freeze.names[0]` is 3, expected text"),
        ("freeze: {names: []}", "`freeze.names` is [], expected a list of at least 1 item or `backbone`"),
        (
            "schedule: {name: multi_step, milestones: 3}",
            "`schedule.milestones` is 3, expected a list of numbers",
        ),
        ("loss: {align_corners: 3}", "`loss.align_corners` is 3, expected true or false or a list of true or false"),
        # not one of the words
        ("schedule: {shift: 2}", "`schedule.shift` is 2, expected `-1`, `0` or `1`"),
        ("model: {drop_path: {}}", "`model.drop_path.end` is missing: Value of the last epoch."),
        (
            "data: {on_error: skp}",
            '`data.on_error` is the text "skp", expected `error` or `skip`; did you mean `skip`?',
        ),
        ("precision: 16", "`precision` is 16, expected `auto`, `fp32`, `bf16` or `fp16`"),
        ("data: {workers: -1}", "`data.workers` is -1, expected a number of at least 0 or `auto`"),
        (
            "data: {workers: aut}",
            '`data.workers` is the text "aut", expected an integer or `auto`; did you mean `auto`?',
        ),
        (
            "optimizer: {name: sdg}",
            '`optimizer.name` is the text "sdg", expected `sgd`, `adamw`, `adam`, `rmsprop`, `lamb` or `lion`; '
            "did you mean `sgd`?",
        ),
        (
            "optimizer: {name: null}",
            "`optimizer.name` is null, expected `sgd`, `adamw`, `adam`, `rmsprop`, `lamb` or `lion`",
        ),
    ],
)
def test_one_problem_is_told_in_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, whole=WHOLE, child=f"extends: whole.yaml\n{text}")
    assert error_of(path).startswith(f"{path}:2: {message}")
    assert "\n" not in error_of(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("augment: {random_crop: null}", "`augment`: a training image is made by exactly one of"),
        ("augment: {random_resized_crop: {size: 8}}", "`augment`: a training image is made by exactly one of"),
        ("model: {options: {name: x}}", "`model.options`: set model.name, not model.options.name"),
        ("model: {options: {num_classes: 3}}", "`model.options`: set model.num_classes, not model.options.num_classes"),
        ("model: {options: {weights: x.pth}}", "`model.options`: set model.weights, not model.options.weights"),
        ("model: {options: {in_channels: 1}}", "`model.options`: set data.channels, not model.options.in_channels"),
        ("preprocess: {mean: [0.5]}", "`preprocess`: mean has 1 values, but std has 3: one for each channel"),
        ("optimizer: {nesterov: true, momentum: 0}", "`optimizer`: nesterov looks ahead along the momentum"),
        (
            "schedule: {warmup_epochs: 10}",
            "`schedule`: warmup_epochs is 10 of 10 epochs, so the warmup would never end: set more epochs, or "
            "schedule.warmup_epochs=0",
        ),
        (
            "optimizer: {weight_decay: 0, weight_decay_end: 1}",
            "`optimizer`: weight_decay_end moves the weight decay of",
        ),
        (
            "model: {name: convnext_tiny, options: {drop_path: 0.1}, drop_path: {end: 0.2}}",
            "`model`: set one of model.drop_path, which moves, and model.options.drop_path",
        ),
        ("model: {weights_key: model_ema}", "`model`: weights_key names an entry of a checkpoint file, but weights is"),
        (
            "augment: {color_jitter: {}}",
            "`augment.color_jitter`: brightness, contrast, saturation and hue are all 0: set one, or",
        ),
        (
            "augment: {random_crop: null, random_scale_crop: {size: [8, 8], scale: [2, 1]}}",
            "`augment.random_scale_crop`: scale is a range [low, high], but 2.0 is above 1.0",
        ),
        (
            "augment: {random_crop: null, random_scale_crop: {size: [8, 8], scale: [0.5, 1.25]}}",
            "`augment.random_scale_crop`: scale reaches from 0.5 to 1.25, which is not a whole number of steps of 0.1: "
            "end it at 1.2, or set another scale_step",
        ),
        (
            "augment: {random_crop: null, random_scale_crop: {size: [8, 8], scale_step: 1.0e-300}}",
            "`augment.random_scale_crop`: scale_step (1e-300) is as good as none: set 0",
        ),
        (
            "augment: {random_crop: null, random_scale_crop: {size: [8, 8], resize_first: shorter_side}}",
            "`augment.random_scale_crop`: resize_first resizes the shorter side to base_size, which is null: set",
        ),
        (
            "sampling: {name: balanced, beta: 0.9}",
            "`sampling`: beta does nothing where weights is inverse, only where it is effective_number: leave it out, "
            "or set it to 0.999, its default",
        ),
        ("ema: {gamma: 2}", "`ema`: gamma does nothing where warmup is count, only where it is power"),
        ("ema: {warmup: none, power: 0.5}", "`ema`: power does nothing where warmup is none, only where it is power"),
        (
            "distillation: {teacher: {bundle: b}, kind: hard, temperature: 4}",
            "`distillation`: temperature does nothing where kind is hard, only where it is logits",
        ),
        (
            "distillation: {teacher: {bundle: b}, similarity_weight: 1}",
            "`distillation`: similarity_weight does nothing where kind is logits, only where it is features",
        ),
    ],
)
def test_an_impossible_section_is_told_with_the_reason(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, whole=WHOLE, child=f"extends: whole.yaml\n{text}")
    assert error_of(path).startswith(f"{path}:2: {message}")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["schedule.min_lr=1"], "{origin} and {file}:12: schedule.min_lr (1) is above optimizer.lr (0.1)"),
        (
            ["optimizer.lr_scaling=linear", "batch.size=64", "schedule.min_lr=0.05"],
            "{origin} and {file}:12: schedule.min_lr (0.05) is above optimizer.lr (0.1, times 0.25 for this batch)",
        ),
        (
            ["schedule.min_lr=0.01", "schedule.extra={epochs: 1, lr: 0.001}"],
            "{origin}: schedule.min_lr (0.01) is above schedule.extra.lr (0.001)",
        ),
        (
            ["eval=false", "early_stopping.patience=3"],
            "{origin}: early_stopping.patience counts validations, but `eval` is false",
        ),
        (
            ["mixing={mixup_alpha: 1, off_epochs: 10}"],
            "{origin} and {file}:14: mixing.off_epochs (10) leaves none of the 10 epochs of schedule.epochs: lower it",
        ),
        (
            ["freeze={names: backbone, epochs: 12}", "schedule.extra={epochs: 2, lr: 0.01}"],
            "{origin} and {file}:14: freeze.epochs (12) leaves none of the 12 epochs of schedule.epochs: lower it",
        ),
        (
            ["schedule.epochs=0", "schedule.extra={epochs: 2, lr: 0.01}"],
            "{origin}: `schedule`: epochs is 0, so nothing is trained, but there is an extra phase",
        ),
        (
            ["schedule.epochs=0", "quantization_aware={}"],
            "{origin}: quantization_aware learns the ranges of values, but schedule.epochs is 0",
        ),
        (["batch.per_device=48"], "{file}:9 and {origin}: batch.size (128) is not a multiple of batch.per_device (48)"),
    ],
)
def test_impossible_sections_are_told_with_the_place_of_each(tmp_path: Path, words: list[str], message: str) -> None:
    path = write(tmp_path, whole=WHOLE)
    assert error_of(path, words).startswith(message.format(origin="command line", file=path))


class TestMissing:
    def test_a_missing_key_is_told_with_its_purpose(self, tmp_path: Path) -> None:
        path = write(tmp_path, whole=WHOLE.replace("  epochs: 10", "  min_lr: 0"))
        purpose = "Passes over the training data, an extra phase not counted; 0: keep the weights it starts from."
        assert error_of(path) == f"{path}:13: `schedule.epochs` is missing: {purpose}"

    def test_a_missing_section_is_told_with_its_purpose(self, tmp_path: Path) -> None:
        path = write(tmp_path, whole=WHOLE.replace("model:\n  name: cifar_resnet20\n", ""))
        assert error_of(path) == f"{path}: `model` is missing: The architecture."

    def test_a_missing_choice_is_told_with_the_choices(self, tmp_path: Path) -> None:
        path = write(tmp_path, whole=WHOLE.replace("  name: sgd\n", ""))
        assert (
            error_of(path)
            == f"{path}:10: `optimizer.name` is missing, expected `sgd`, `adamw`, `adam`, `rmsprop`, `lamb` or `lion`"
        )


class TestMany:
    def test_each_problem_has_a_line_and_its_own_place(self, tmp_path: Path) -> None:
        whole = write(tmp_path, whole=WHOLE.replace("epochs: 10", "epochs: ten"))
        child = write(tmp_path, child="extends: whole.yaml\nseed: -1")
        assert error_of(child, ["optimizer.lr=0", "epoch=3"]).split("\n  ") == [
            "the recipe has 4 problems",
            "command line: unknown key `epoch`; did you mean `schedule.epochs`?",
            f"{child}:2: `seed` is -1, expected a number of at least 0",
            "command line: `optimizer.lr` is 0, expected a number above 0",
            f'{whole}:14: `schedule.epochs` is the text "ten", expected an integer',
        ]

    def test_a_flood_of_problems_is_cut(self, tmp_path: Path) -> None:
        flood = "".join(f"key{number}: 1\n" for number in range(5000))
        lines = error_of(write(tmp_path, whole=WHOLE + flood)).split("\n")
        assert lines[0] == f"the recipe has more than {MAX_PROBLEMS} problems"
        assert len(lines) == MAX_PROBLEMS + 1


KEYS = """
    seed sgd model model.name model.options model.num_classes data data.workers augment augment.random_crop
    augment.random_crop.size augment.random_resized_crop preprocess preprocess.mean batch batch.per_device batch.size
    optimizer optimizer.name optimizer.sgd optimizer.betas schedule schedule.epochs schedule.warmup_epochs loss ema
    optimizer.lr_scales schedule.name schedule.cosine schedule.extra sampling sampling.name augment.policy
    augment.policy.name loss.name loss.class_weights mixing distillation distillation.teacher freeze freeze.names
    checkpoint early_stopping clip_grad_norm precision
"""


class TestAnything:
    """Whatever a file holds, loading gives a recipe or a ConvsmithError."""

    @staticmethod
    def load(folder: Path, data: bytes) -> None:
        path = folder / "any.yaml"
        path.write_bytes(data)
        try:
            recipe = load_recipe(path)
        except ConvsmithError as error:
            assert "pydantic" not in str(error)  # noqa: PT017 - both outcomes are right
        else:
            assert isinstance(recipe, Recipe)

    @given(data=st.binary())
    def test_any_bytes(self, tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
        self.load(tmp_path_factory.getbasetemp(), data)

    @given(start=st.integers(0, len(WHOLE)), length=st.integers(0, 20), text=st.text())
    def test_a_recipe_with_a_hole_or_a_patch(
        self, tmp_path_factory: pytest.TempPathFactory, start: int, length: int, text: str
    ) -> None:
        patched = WHOLE[:start] + text + WHOLE[start + length :]
        self.load(tmp_path_factory.getbasetemp(), patched.encode(errors="replace"))

    @settings(max_examples=300)
    @given(
        key=st.sampled_from(KEYS.split()),
        value=VALUES,
    )
    def test_a_recipe_with_any_value_at_any_key(
        self, tmp_path_factory: pytest.TempPathFactory, key: str, value: object
    ) -> None:
        path = write(tmp_path_factory.getbasetemp(), whole=WHOLE)
        try:
            recipe = load_recipe(path, [f"{key}={write_yaml(value)}"])
        except ConvsmithError as error:
            assert "pydantic" not in str(error)  # noqa: PT017 - both outcomes are right
        else:
            assert isinstance(recipe, Recipe)

    def test_keys_that_are_called_like_the_members_of_a_union(self, tmp_path: Path) -> None:
        words = [
            "optimizer.name=adamw",
            "optimizer.adamw=3",
            "optimizer.betas=[a]",
            "data.workers={constrained-int: a}",
        ]
        assert error_of(write(tmp_path, whole=WHOLE), words).startswith("the recipe has 4 problems")


def test_of_a_list_of_thousands_of_wrong_items_the_first_are_told() -> None:
    items = ", ".join(["x"] * 5000)
    with pytest.raises(
        ConvsmithError, match=r"more than 20 problems\n.*class_weights\[0\]. is the text \"x\""
    ) as caught:
        load_recipe("resnet50-in1k", [f"loss.class_weights=[{items}]"])
    assert str(caught.value).count("\n") == 20
