"""Images as clients send them, whatever the kind of request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import BinaryIO

from convsmith.errors import counted, printable
from convsmith.serve.problems import Problem

EXAMPLE = "Send it as curl -F image=@photo.jpg does."
_LONGEST_NAME = 255


@dataclass(frozen=True)
class Sent:
    """One image of a request.

    Attributes:
        name: what the answer calls it, if there are several.
        file: its content, or why there is none.
    """

    name: str
    file: BinaryIO | Problem

    def opened(self) -> BinaryIO:
        """The content; raises the `Problem` where there is none."""
        if isinstance(self.file, Problem):
            raise self.file
        return self.file

    @classmethod
    def named(cls, name: str, number: int, file: BinaryIO | Problem) -> Sent:
        """An image by the name that its client gave it, or else by its number in the request, from 0 on."""
        return cls(printable(name[:_LONGEST_NAME]) or f"images[{number}]", file)


def check_number(number: int, most: int) -> None:
    """Raise a `Problem` of status 422 for more images than one request may have."""
    if number > most:
        raise Problem(
            422,
            "there are too many images in the request",
            f"{counted(most, 'image')} at a time may be sent",
            "Send the others in further requests.",
        )
