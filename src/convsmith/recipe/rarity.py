"""How much more a rare class counts than a frequent one, in the loss or in sampling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Rarity = Literal["inverse", "sqrt", "effective_number"]


def rarity(kind: Rarity, counts: NDArray[np.int64], beta: float = 0.999) -> NDArray[np.float64]:
    """Weight of an image of each class, float64 `[K]`.

    1/n, 1/sqrt(n), or (1 - beta) / (1 - beta^n) (effective number; Cui et al. 2019, arXiv:1901.05555).

    Args:
        kind: which of the three.
        counts: images n of each class, int64 `[K]`; a class without images counts as if it had one.
        beta: of the effective number.
    """
    import numpy as np  # slow to import, and a recipe needs only the names

    n = np.maximum(counts, 1).astype(np.float64)
    match kind:
        case "inverse":
            return 1 / n
        case "sqrt":
            return 1 / np.sqrt(n)
        case "effective_number":
            return (1 - beta) / (1 - beta**n)
