"""Images that are nearly the same: saved anew, resized, a little cropped, brighter or darker, or mirrored."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from convsmith.data.checks.hamming import most_bits, visit_pairs
from convsmith.data.checks.prints import mirror_colours

_AT_ONCE = 2**14  # pairs whose features are compared in one operation
_SECONDS = 1e-3  # that a search may take of one core for each image: less than to decode it


class Rule(NamedTuple):
    """When two images are nearly the same.

    Attributes:
        alike: the correlation that their features must have.
        surely: in how many bits hashes may differ whatever the features are.
        radius: in how many bits they may differ at most; fewer where there are so many that a search would take long.
    """

    alike: float
    surely: int
    radius: int


PRINTS = Rule(alike=0.95, surely=2, radius=12)
EMBEDDINGS = Rule(alike=0.96, surely=-1, radius=10)


class Kind(IntEnum):
    """Ways in which two images that are nearly the same can stand to each other."""

    LEAKED = 0
    """One is in training, the other in validation."""
    UNLIKE = 1
    """They are of different classes."""
    REPEATED = 2
    """They are of the same class and the same split."""


@dataclass(frozen=True)
class Images:
    """The images that are compared.

    Attributes:
        hashes: similar for similar images, uint64 `[N]`; 0 where there is none.
        features: the colours of a grid, or an embedding, `[N, D]`.
        judged: whether they are for validation, bool `[N]`.
        targets: their classes, int64 `[N]`.
        contents: a hash of their bytes, uint64 `[N]`; the same bytes twice count as `REPEATED` only.
        mirrored: the hashes of their mirror images, uint64 `[N]`, where features are colours; else none.
    """

    hashes: NDArray[np.uint64]
    features: NDArray[np.generic]
    judged: NDArray[np.bool_]
    targets: NDArray[np.int64]
    contents: NDArray[np.uint64]
    mirrored: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))


@dataclass
class Nearest:
    """For each image and each `Kind`, the image that is nearest to it, int64 `[3, N]`; -1 where there is none."""

    partners: NDArray[np.int64]
    differ: NDArray[np.uint8] = field(repr=False)

    @classmethod
    def of_none(cls, count: int) -> Nearest:
        """Nothing found yet among so many."""
        return cls(np.full((len(Kind), count), -1, np.int64), np.full((len(Kind), count), 255, np.uint8))

    def take(self, kind: Kind, first: NDArray[np.int64], second: NDArray[np.int64], differ: NDArray[np.uint8]) -> None:
        """Keep the pairs `[P]` of a kind that are nearer than what is known of either image."""
        for one, other in ((first, second), (second, first)):
            order = np.lexsort((other, differ, one))  # the nearest of each comes first
            one_of_each = order[np.unique(one[order], return_index=True)[1]]
            here, there, bits = one[one_of_each], other[one_of_each], differ[one_of_each]
            nearer = bits < self.differ[kind, here]
            self.partners[kind, here[nearer]] = there[nearer]
            self.differ[kind, here[nearer]] = bits[nearer]

    def spread(self, firsts: NDArray[np.int64], members: NDArray[np.int64]) -> None:
        """Let each member `[P]` of a group be near to what the first one `[P]` of its group is near to, and to that."""
        others = members != firsts
        firsts, members = firsts[others], members[others]
        self.partners[:, members] = self.partners[:, firsts]
        self.partners[Kind.REPEATED, members] = firsts

    def pairs(self, kind: Kind) -> NDArray[np.int64]:
        """Each image of that kind with its nearest one, the later first, int64 `[P, 2]`; each pair once."""
        places = np.flatnonzero(self.partners[kind] >= 0)
        both = np.sort(np.stack([places, self.partners[kind, places]], axis=1), axis=1)[:, ::-1]
        found: NDArray[np.int64] = np.unique(both, axis=0)
        return found


def find_near(images: Images, rule: Rule = PRINTS) -> Nearest:
    """The nearest image to each that is nearly the same, by hashes and features.

    The mirror image of one counts only if it has the same target: labels may be about sides.
    """
    order, starts = _groups(images)
    firsts = order[starts]  # one stands for all of its group, or a film that stands still would be all pairs
    found = Nearest.of_none(len(images.hashes))
    mirrored = images.mirrored[firsts] if len(images.mirrored) else images.mirrored
    hashes = np.concatenate([images.hashes[firsts], mirrored])

    def visit(first: NDArray[np.int64], second: NDArray[np.int64], differ: NDArray[np.uint8]) -> None:
        turned = second >= len(firsts)
        differ = differ[kept := (first < len(firsts)) & (second - len(firsts) != first)]  # not two mirror images
        turned, first, second = turned[kept], firsts[first[kept]], firsts[second[kept] % len(firsts)]
        near = differ <= rule.surely
        for is_turned in np.unique(turned).tolist():
            asked = ~near & (turned == is_turned)
            near[asked] = _correlation(images.features, first[asked], second[asked], is_turned) >= rule.alike
        near &= ~turned | (images.targets[first] == images.targets[second])
        first, second, differ = first[near], second[near], differ[near]
        other = images.contents[first] != images.contents[second]
        leaked = images.judged[first] != images.judged[second]
        unlike = images.targets[first] != images.targets[second]
        kinds = {Kind.LEAKED: leaked & other, Kind.UNLIKE: unlike & other, Kind.REPEATED: ~leaked & ~unlike}
        for kind, there in kinds.items():
            if there.any():
                found.take(kind, first[there], second[there], differ[there])

    visit_pairs(hashes, most_bits(len(hashes), rule.radius, _SECONDS * len(firsts)), visit)
    group = np.repeat(np.arange(len(starts)), np.diff([*starts, len(order)]))
    found.spread(firsts[group], order)
    return found


def _groups(images: Images) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The images that have a hash, sorted by hash, class and split, and where each group of these begins."""
    there = np.flatnonzero(images.hashes)
    keys = images.judged[there], images.targets[there], images.hashes[there]
    order = np.lexsort(keys)  # stable: the first of a group is the first of the data
    changes = np.zeros(len(there), bool)
    for key in keys:
        changes[1:] |= np.diff(key[order].astype(np.int64, copy=False)) != 0
    changes[:1] = True
    return there[order], np.flatnonzero(changes)


def _correlation(
    features: NDArray[np.generic], first: NDArray[np.int64], second: NDArray[np.int64], turned: bool
) -> NDArray[np.float32]:
    """The correlation of the features of two images, float `[P]`; for colours, brightness and contrast do not count."""
    found = np.empty(len(first), np.float32)
    for begin in range(0, len(first), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        others = mirror_colours(features[second[part]]) if turned else features[second[part]]
        one, other = (values.astype(np.float32) for values in (features[first[part]], others))
        one, other = (values - values.mean(axis=1, keepdims=True) for values in (one, other))
        norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
        found[part] = (one * other).sum(axis=1) / np.maximum(norms, 1e-6)
    return found
