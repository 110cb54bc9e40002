"""Images that are nearly the same, against a comparison of each with each other one."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convsmith.data.checks.near import EMBEDDINGS, PRINTS, Images, Kind, Nearest, Rule, _correlation, find_near
from convsmith.data.checks.prints import mirror_colours


def images_of(seed: int, count: int = 12) -> Images:
    """Images of different hashes, of which many are within 15 bits, with features of any correlation."""
    random = np.random.RandomState(seed)
    base, features = random.randint(1, 2**62), random.standard_normal(48)
    hashes: set[int] = set()
    while len(hashes) < count:
        hashes.add(base ^ int(sum(1 << int(bit) for bit in random.choice(62, random.randint(0, 9), replace=False))))
    spread = random.choice([0.05, 0.2, 0.3, 0.4], (count, 1))
    return Images(
        hashes=np.array(sorted(hashes), np.uint64),
        features=features + spread * random.standard_normal((count, 48)),
        judged=random.random_sample(count) < 0.5,
        targets=random.randint(0, 2, count),
        contents=random.randint(0, 6, count).astype(np.uint64),
    )


def expected(images: Images, rule: Rule) -> np.ndarray:
    """By kind and image the fewest bits in which a partner differs, 255 where there is none."""
    fewest = np.full((3, len(images.hashes)), 255)
    for i, j in combinations(range(len(images.hashes)), 2):
        bits = int(images.hashes[i] ^ images.hashes[j]).bit_count()
        alike = np.corrcoef(images.features[i].astype(float), images.features[j].astype(float))[0, 1]
        if bits > rule.radius or not (bits <= rule.surely or alike >= rule.alike):
            continue
        leaked, unlike = images.judged[i] != images.judged[j], images.targets[i] != images.targets[j]
        kinds = {Kind.LEAKED: leaked, Kind.UNLIKE: unlike, Kind.REPEATED: not leaked and not unlike}
        for kind, there in kinds.items():
            if there and (kind == Kind.REPEATED or images.contents[i] != images.contents[j]):
                fewest[kind, [i, j]] = np.minimum(fewest[kind, [i, j]], bits)
    return fewest


@pytest.mark.parametrize("rule", [PRINTS, EMBEDDINGS, Rule(alike=2.0, surely=7, radius=12)])
@given(seed=st.integers(0, 2**31))
@settings(max_examples=15)
def test_each_image_has_the_nearest_of_each_kind(rule: Rule, seed: int) -> None:
    images = images_of(seed)
    found = find_near(images, rule)
    assert found.differ.tolist() == expected(images, rule).tolist()
    assert ((found.partners >= 0) == (found.differ < 255)).all()
    for kind, here in zip(*np.nonzero(found.partners >= 0), strict=True):
        partner = found.partners[kind, here]
        assert int(images.hashes[here] ^ images.hashes[partner]).bit_count() == found.differ[kind, here]


def test_pairs_are_named_once_the_later_image_first() -> None:
    found = Nearest.of_none(5)
    found.partners[Kind.UNLIKE] = [3, -1, 4, 0, 3]
    assert found.pairs(Kind.UNLIKE).tolist() == [[3, 0], [4, 2], [4, 3]]
    assert found.pairs(Kind.LEAKED).tolist() == []


def test_of_equal_images_one_stands_for_all() -> None:
    images = Images(
        hashes=np.array([9, 8, 9, 0, 9, 9], np.uint64),
        features=np.tile(np.arange(48.0), (6, 1)),
        judged=np.array([False, True, False, False, True, False]),
        targets=np.array([0, 0, 0, 0, 0, 1]),
        contents=np.arange(6, dtype=np.uint64),
    )
    found = find_near(images)
    assert found.pairs(Kind.REPEATED).tolist() == [[2, 0], [4, 1]]
    assert found.pairs(Kind.LEAKED).tolist() == [[1, 0], [4, 0], [4, 2], [5, 4]]
    assert found.pairs(Kind.UNLIKE).tolist() == [[5, 0], [5, 1], [5, 2], [5, 4]]
    assert (found.partners[:, 3] == -1).all()


@pytest.mark.parametrize("same", [True, False])
def test_a_mirror_image_counts_with_the_same_class(same: bool) -> None:
    random = np.random.RandomState(0)
    colours = random.randint(0, 256, (1, 48)).astype(np.uint8)
    images = Images(
        hashes=np.array([0xFF, 0xFFFF0000], np.uint64),
        features=np.concatenate([colours, mirror_colours(colours)]),
        judged=np.array([False, True]),
        targets=np.array([0, 0 if same else 1]),
        contents=np.array([1, 2], np.uint64),
        mirrored=np.array([0xFFFF0001, 0xFE], np.uint64),
    )
    assert find_near(images).pairs(Kind.LEAKED).tolist() == ([[1, 0]] if same else [])


def test_correlation_is_numpys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("convsmith.data.checks.near._AT_ONCE", 3)
    features = np.random.RandomState(0).randint(0, 256, (6, 48)).astype(np.uint8)
    first, second = np.array([0, 1, 2, 3, 4, 5, 0]), np.array([5, 4, 3, 2, 1, 0, 0])
    numbers = np.corrcoef(features.astype(float))[first, second]
    assert _correlation(features, first, second, turned=False).tolist() == pytest.approx(numbers, abs=1e-5)
    turned = [np.corrcoef(features[i].astype(float), mirror_colours(features[[j]])[0].astype(float))[0, 1]
              for i, j in zip(first, second, strict=True)]  # fmt: skip
    assert _correlation(features, first, second, turned=True).tolist() == pytest.approx(turned, abs=1e-5)
    assert _correlation(np.ones((2, 48)), np.array([0]), np.array([1]), turned=False).tolist() == [0]
