"""Which columns of a table say what, where they are not called as usual."""

from __future__ import annotations

from pydantic import Field

from convsmith.spec import Section


class Columns(Section):
    """Names of columns, in any case; null: a usual name, see docs/data.md."""

    image: str | None = Field(None, description="Holds the path of the image, or its name without an ending.")
    label: str | None = Field(None, description="Holds the class of the image.")
    labels: str | None = Field(None, description="Holds all labels of the image, with | between them.")
    mask: str | None = Field(None, description="Holds the path of the mask.")
    split: str | None = Field(None, description="Holds train, val or test.")
    group: str | None = Field(None, description="Images of one group, such as a patient, go to one part alone.")
    weight: str | None = Field(None, description="How often sampling.name=weighted draws the image, beside others.")

    def names(self, column: str, usual: tuple[str, ...]) -> tuple[str, ...]:
        """The names that a column may have: the one that is said, or the usual ones."""
        said: str | None = getattr(self, column)
        return usual if said is None else (said,)
