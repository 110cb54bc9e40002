"""The samples in tar shards as WebDataset lays them out: members of one name but for what follows its first dot."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from convsmith.bundle.images.open_image import IMAGE_SUFFIXES
from convsmith.data.folders.files import select_texts
from convsmith.data.folders.scan import is_hidden
from convsmith.data.shards.sample_texts import TEXTS, label_of, refused, weight_of, word_of
from convsmith.data.shards.shard_paths import ShardPaths
from convsmith.data.shards.tar_members import Archive, Member
from convsmith.errors import of_system, printable, quoted

PLACE = np.dtype([("shard", np.int32), ("offset", np.int64), ("size", np.uint32)])
"""Where the bytes of a member are: the number of its shard, and where in it. An offset of -1: there is none."""

_MASKS = frozenset(
    ["mask", "masks", "seg", "segmentation", "semantic", "annotation", "annotations", "label", "labels", "gt", "target"]
)
_MOST_TEXT = 2**28  # bytes of names and labels of one shard that are held
_MOST_KINDS = 100
_KEY = re.compile(rb"((?:.*/)?[^./][^./]*)\.([^/]+)", re.DOTALL)


@dataclass(frozen=True)
class Packed:
    """Members of shards as packed arrays.

    Attributes:
        places: of type `PLACE`, `[N]`.
        buffer: their names one after another, uint8.
        offsets: where in the buffer each begins, and the last ends, int64 `[N + 1]`.
    """

    places: NDArray[np.void]
    buffer: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.places)

    def name(self, i: int) -> bytes:
        """The name of member i, as its archive spells it."""
        return self.buffer[self.offsets[i] : self.offsets[i + 1]].tobytes()

    def select(self, chosen: NDArray[np.int64]) -> Packed:
        """The members at `chosen`, in that order."""
        if len(chosen) and chosen[-1] - chosen[0] == len(chosen) - 1 and (np.diff(chosen) == 1).all():
            first, behind = int(chosen[0]), int(chosen[-1]) + 1  # of a split, say: a view, however many there are
            start, end = self.offsets[first], self.offsets[behind]
            return Packed(self.places[first:behind], self.buffer[start:end], self.offsets[first : behind + 1] - start)
        return Packed(self.places[chosen], *select_texts(self.buffer, self.offsets, chosen))


@dataclass(frozen=True)
class Found:
    """The samples of one shard, or of several one after another.

    Attributes:
        images: their images.
        masks: their masks, with offset -1 where a sample has none; empty where none has one.
        labels: the number of the label of each, int32 `[N]`; -1 where it has none.
        names: the labels by their numbers, as the shards spell them.
        weights: how often each is drawn beside others, float64 `[N]`, NaN where nothing says it.
        groups: the number of the group of each, int32 `[N]`; -1 where it has none.
        group_names: the groups by their numbers.
        others: members that are none of these, by what follows the first dot.
    """

    images: Packed
    masks: Packed
    labels: NDArray[np.int32]
    names: tuple[str, ...]
    weights: NDArray[np.float64]
    groups: NDArray[np.int32]
    group_names: tuple[str, ...]
    others: Counter[str]

    def __len__(self) -> int:
        return len(self.labels)


def find_samples(shards: ShardPaths, number: int) -> Found:
    """Read which samples a shard holds; the bytes of its images are not read.

    Args:
        shards: where they are.
        number: which of them, as its places say.

    Raises:
        ConvsmithError: it is not a plain tar archive, or holds what is not a sample; it names shard and member.
    """
    name = shards.name(number)
    try:
        with shards.open(number) as file:
            archive = Archive(file, file.seek(0, 2), name)
            found = _Builder(number)
            for members in _by_key(archive, found):
                found.add(_sample(archive, members))
                if found.held > _MOST_TEXT:
                    raise refused(archive, f"holds names of more than {_MOST_TEXT:,} bytes", "", "Make smaller shards.")
    except OSError as error:
        raise of_system(error, f"cannot read {printable(name)}") from error
    return found.build()


def join(parts: list[Found]) -> Found:
    """The samples of several shards, one after another."""
    labels, names = _renumbered([(part.labels, part.names) for part in parts])
    groups, group_names = _renumbered([(part.groups, part.group_names) for part in parts])
    with_masks = any(len(part.masks) for part in parts)
    return Found(
        _joined([part.images for part in parts]),
        _joined([part.masks if len(part.masks) else _none(len(part)) for part in parts] if with_masks else []),
        labels,
        names,
        np.concatenate([np.empty(0), *(part.weights for part in parts)]),
        groups,
        group_names,
        sum((part.others for part in parts), Counter()),
    )


def _renumbered(parts: list[tuple[NDArray[np.int32], tuple[str, ...]]]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Numbers, and what they mean, of several shards one after another."""
    numbers: dict[str, int] = {}
    joined = [np.empty(0, np.int32)]
    for part, names in parts:
        table = np.array([*(numbers.setdefault(name, len(numbers)) for name in names), -1], np.int32)
        joined.append(table[part])
    return np.concatenate(joined), tuple(numbers)


def _joined(parts: list[Packed]) -> Packed:
    parts = [_none(0), *parts]
    ends = np.cumsum([len(part.buffer) for part in parts])
    return Packed(
        np.concatenate([part.places for part in parts]),
        np.concatenate([part.buffer for part in parts]),
        np.concatenate(
            [[0], *(part.offsets[1:] + end - len(part.buffer) for part, end in zip(parts, ends, strict=True))]
        ).astype(np.int64, copy=False),
    )


def _none(count: int) -> Packed:
    """Members that are not there, so many of them."""
    places = np.zeros(count, PLACE)
    places["offset"] = -1
    return Packed(places, np.empty(0, np.uint8), np.zeros(count + 1, np.int64))


@dataclass
class _Sample:
    """One sample that was found."""

    image: Member
    mask: Member | None
    label: str | None
    weight: float
    group: str | None
    left_out: list[str]  # what follows the first dot of other members


class _Builder:
    """Collects the samples of one shard."""

    def __init__(self, number: int) -> None:
        self.number, self.others = number, Counter[str]()
        self.images, self.masks = _Members(), _Members()
        self.labels, self.groups, self.weights = _Texts(), _Texts(), array("d")

    @property
    def held(self) -> int:
        """Bytes of names, labels and groups that are held."""
        return len(self.images.buffer) + len(self.masks.buffer) + self.labels.held + self.groups.held

    def add(self, sample: _Sample) -> None:
        self.images.add(sample.image)
        self.masks.add(sample.mask or Member(b"", -1, 0))
        self.labels.add(sample.label)
        self.groups.add(sample.group)
        self.weights.append(sample.weight)
        for ending in sample.left_out:
            self.others[f".{ending}" if len(self.others) < _MOST_KINDS else "of other kinds"] += 1

    def build(self) -> Found:
        images, masks = self.images.build(self.number), self.masks.build(self.number)
        has_masks = bool((masks.places["offset"] >= 0).any())
        masks, weights = masks if has_masks else _none(0), np.array(self.weights, np.float64)
        return Found(images, masks, *self.labels.build(), weights, *self.groups.build(), self.others)


@dataclass
class _Texts:
    """Texts of samples, by numbers of which each stands for another one."""

    numbers: dict[str, int] = field(default_factory=dict)
    of_samples: array[int] = field(default_factory=lambda: array("i"))
    held: int = 0

    def add(self, text: str | None) -> None:
        if text is not None and text not in self.numbers:
            self.held += len(text)
            self.numbers[text] = len(self.numbers)
        self.of_samples.append(-1 if text is None else self.numbers[text])

    def build(self) -> tuple[NDArray[np.int32], tuple[str, ...]]:
        return np.array(self.of_samples, np.int32), tuple(self.numbers)


@dataclass
class _Members:
    buffer: bytearray = field(default_factory=bytearray)
    numbers: array[int] = field(default_factory=lambda: array("q"))  # offset, size, and where the name ends

    def add(self, member: Member) -> None:
        self.buffer += member.name
        self.numbers.extend((member.offset, min(member.size, 2**32 - 1), len(self.buffer)))

    def build(self, shard: int) -> Packed:
        numbers = np.array(self.numbers, np.int64).reshape(-1, 3)
        places = np.zeros(len(numbers), PLACE)
        places["shard"], places["offset"], places["size"] = shard, numbers[:, 0], numbers[:, 1]
        return Packed(places, np.frombuffer(bytes(self.buffer), np.uint8), np.append(0, numbers[:, 2]))


def _by_key(archive: Archive, found: _Builder) -> Iterator[dict[str, Member]]:
    """The members of each sample, by what follows the first dot of the name, in lower case."""
    key, members = b"", dict[str, Member]()
    for member in archive.members():
        match = _KEY.fullmatch(member.name)
        if match is None or any(map(is_hidden, printable(member.name).removeprefix("./").split("/"))):
            found.others["without a key"] += 1  # and what WebDataset skips: no dot, or one in front
            continue
        ending = printable(match[2]).lower()
        if match[1] != key:
            if members:
                yield members
            key, members = match[1], {}
        if ending in members:
            why = f"a sample's name ends at the first dot of the last part: there it is `{printable(key)}`"
            fix = "Write names without further dots, each once."
            raise refused(archive, f"holds `{printable(key)}.{ending}` twice", why, fix)
        members[ending] = member
        if len(members) > _MOST_KINDS:
            raise refused(archive, f"holds a sample `{printable(key)}` of more than {_MOST_KINDS} members", "", "")
    if members:
        yield members


def _is_picture(ending: str) -> bool:
    return f".{ending.rpartition('.')[2]}" in IMAGE_SUFFIXES


def _is_mask(ending: str) -> bool:
    """Whether a word before the last part says so, as in mask.png or seg.npy."""
    name, _, last = ending.rpartition(".")
    return (last == "npy" or _is_picture(ending)) and bool(set(re.findall("[a-z]+", name)) & _MASKS)


def _sample(archive: Archive, members: dict[str, Member]) -> _Sample:
    masks = [ending for ending in members if _is_mask(ending)]
    images = [ending for ending in members if _is_picture(ending) and ending not in masks]
    if len(images) == 2 and not masks and "png" in images and not all(ending.endswith("png") for ending in images):
        masks, images = ["png"], [ending for ending in images if ending != "png"]
    if not images and "npy" in members:
        images = ["npy"]
    if len(images) != 1 or len(masks) > 1:
        ending, member = next(iter(members.items()))
        key = printable(member.name)[: -len(ending) - 1]
        raise refused(
            archive,
            f"holds a sample `{key}` of {quoted(f'.{ending}' for ending in members)}",
            "a sample is one image, and its label (.cls or .json) or its mask (.png beside another kind, or .mask.png)",
            "Let the members of a sample follow each other, as `convsmith data pack` and `tar --sort=name` write them.",
        )
    left_out = [ending for ending in members if ending not in (*images, *masks, *TEXTS)]
    label, group = label_of(archive, members), word_of(archive, members.get("group"))
    mask = members[masks[0]] if masks else None
    return _Sample(members[images[0]], mask, label, weight_of(archive, members.get("weight")), group, left_out)
