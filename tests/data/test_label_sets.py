"""The classes of published data sets, held against lists that others have of them."""

from __future__ import annotations

import pytest

from convsmith.data.masks import label_sets
from convsmith.data.masks.label_sets import LabelSet
from convsmith.spec import IGNORED

SETS = {name: it for name, it in vars(label_sets).items() if isinstance(it, LabelSet)}


@pytest.mark.parametrize("name", SETS)
def test_each_class_has_a_name_an_id_and_a_colour_if_one_has(name: str) -> None:
    it = SETS[name]
    assert sorted(set(it.values.values()) - {IGNORED}) == list(range(len(it.names)))
    assert len(set(it.names)) == len(it.names)
    assert it.colours is None or len(it.colours) == len(it.names)


@pytest.mark.parametrize(
    ("name", "classes", "first", "ignored"),
    [
        ("CITYSCAPES", 19, 7, 15),
        ("ADE20K", 150, 1, 1),
        ("PASCAL_CONTEXT_59", 59, 1, 1),
        ("PASCAL_CONTEXT_60", 60, 0, 0),
        ("LIP", 20, 0, 0),
        ("COCO_STUFF", 171, 1, 1),
        ("COCO_STUFF_164K", 171, 0, 0),
        ("VOC", 21, 0, 0),
        ("CAMVID", 11, 0, 1),
    ],
)
def test_a_set_has_so_many_classes_and_ids_that_do_not_count(name: str, classes: int, first: int, ignored: int) -> None:
    values = SETS[name].values
    assert len(SETS[name].names) == classes
    assert min(value for value, target in values.items() if target == 0) == first
    assert list(values.values()).count(IGNORED) == ignored
    assert [target for target in values.values() if target != IGNORED] == list(range(classes))


def test_cityscapes_has_the_train_ids_and_colours_that_torchvision_has() -> None:
    from torchvision.datasets import Cityscapes

    known = {it.id: it for it in Cityscapes.classes if it.id >= 0}
    targets = {number: it.train_id if it.train_id < IGNORED else IGNORED for number, it in known.items()}
    assert label_sets.CITYSCAPES.values == targets
    counted = sorted((it for it in known.values() if it.train_id < IGNORED), key=lambda it: it.train_id)
    assert label_sets.CITYSCAPES.names == tuple(it.name for it in counted)
    assert label_sets.CITYSCAPES.colours == tuple(it.color for it in counted)


def test_things_of_coco_have_the_ids_that_torchvision_has() -> None:
    from torchvision.models._meta import _COCO_CATEGORIES

    things = {number for number, name in enumerate(_COCO_CATEGORIES) if name not in ("__background__", "N/A")}
    ids = {value for value, target in label_sets.COCO_STUFF.values.items() if target != IGNORED}
    assert {value for value in ids if value <= 90} == things
    assert {value for value in ids if value > 90} == set(range(92, 183))
    assert {value + 1 for value in label_sets.COCO_STUFF_164K.values} == ids


def test_other_ids_rise_with_the_classes() -> None:
    assert list(label_sets.ADE20K.values) == [*range(1, 151), 0]
    assert list(label_sets.PASCAL_CONTEXT_59.values) == [*range(1, 60), 0]
    assert list(label_sets.CAMVID.values) == list(range(12))
