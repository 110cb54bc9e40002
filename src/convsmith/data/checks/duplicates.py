"""The same bytes twice, where they must not be: in training and validation, or in two classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from convsmith.data.checks.copies import Copies, Names
from convsmith.data.checks.look import Looks
from convsmith.data.checks.names import MOST_NAMED
from convsmith.data.contents import Content
from convsmith.data.dataset import DataSet, Samples
from convsmith.errors import counted, printable

_COMPARED = 256  # pairs, byte by byte; of compressed pictures the look has never been wrong

Pair = tuple[Content, Content]


def duplicates(dataset: DataSet, train: Looks, val: Looks, twice: str = "in two classes") -> list[Copies]:
    """Each kind of copies that there are; empty if there are none.

    Args:
        dataset: what was looked at.
        train: the look at its training samples.
        val: the one at its validation samples.
        twice: what images are that have different targets.
    """
    found = []
    leaked = _same(_in_both(dataset, train, val))
    if leaked:
        pairs = _names(leaked)
        told = (
            f"{len(leaked)} of {counted(len(dataset.val), 'validation image')} {_are(len(leaked))} among the training "
            f"images too, such as {' and '.join(pairs[0])}: what the model is judged by it has learned by heart"
        )
        found.append(Copies(told, len(leaked), pairs))
    unlike = _same([*_in_two_classes(dataset.train, train), *_in_two_classes(dataset.val, val)])
    if unlike:
        pairs = _names(unlike)
        told = f"{counted(len(unlike), 'image')} {_are(len(unlike))} {twice}, such as {' and '.join(pairs[0])}"
        found.append(Copies(told, len(unlike), pairs))
    return found


def _in_both(dataset: DataSet, train: Looks, val: Looks) -> Iterator[Pair]:
    learned, judged = _content(train), _content(val)
    order = np.argsort(learned, kind="stable")
    leaked = np.flatnonzero(np.isin(judged, learned) & (judged > 0))
    first = order[np.searchsorted(learned[order], judged[leaked])]
    for i, k in zip(leaked.tolist(), first.tolist(), strict=True):
        yield dataset.val.contents(i)[0], dataset.train.contents(k)[0]


def _in_two_classes(samples: Samples, looks: Looks) -> Iterator[Pair]:
    """Each sample that is another one's copy in a class of a higher number, with that one."""
    order = np.lexsort((samples.targets, _content(looks)))
    content, targets = _content(looks)[order], samples.targets[order]
    same = (content[1:] == content[:-1]) & (content[1:] > 0)
    for k in np.flatnonzero(same & (targets[1:] != targets[:-1])):
        yield samples.contents(int(order[k]))[0], samples.contents(int(order[k + 1]))[0]


def _content(looks: Looks) -> NDArray[np.uint64]:
    """A hash that tells the image of each sample from others; 0 for bad ones."""
    content: NDArray[np.uint64] = np.where(looks.rows["height"] > 0, looks.rows["content"][:, 0], 0)
    return content


def _same(pairs: Iterator[Pair] | Sequence[Pair]) -> list[Pair]:
    """Those that hold the same bytes, as far as they are compared."""
    found = list(pairs)
    return [pair for k, pair in enumerate(found) if k >= _COMPARED or pair[0].equals(pair[1])]


def _names(pairs: Sequence[Pair]) -> tuple[Names, ...]:
    return tuple((printable(one.name), printable(other.name)) for one, other in pairs[:MOST_NAMED])


def _are(number: int) -> str:
    return "is" if number == 1 else "are"
