"""Numbers in variables of the environment."""

from __future__ import annotations

import math

from convsmith.errors import ConvsmithError


def number_in(variable: str, told: str, *, below: float, says: str, fix: str) -> float:
    """The number, 0 or more, that the text of a variable is.

    Args:
        variable: its name.
        told: the text.
        below: what the number must be below.
        says: what it says, for an error.
        fix: what to set, for an error.

    Raises:
        ConvsmithError: it is something else.
    """
    try:
        number = float(told)
    except ValueError:
        number = math.nan
    if not 0 <= number < below:
        raise ConvsmithError(f"{variable} is `{told}`", f"it says {says}", fix)
    return number
