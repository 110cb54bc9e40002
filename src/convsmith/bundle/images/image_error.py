"""Errors of an image that gets no answer."""

from __future__ import annotations

from convsmith.errors import ConvsmithError


class ImageError(ConvsmithError):
    """An image that gets no answer, since it cannot be read or predicted; `what` names it, `why` says the reason.

    Examples:
        >>> answers = cs.predict("runs/photos", [b"not an image", "photos/val/red/0.png"])
        >>> [isinstance(answer, cs.ImageError) for answer in answers]
        [True, False]
    """

    @property
    def in_a_line(self) -> str:
        """The reason, and what to do about it where that is known."""
        return f"{self.why}. {self.fix}" if self.fix else self.why


class ImageTooLarge(ImageError):
    """An image over a limit of size, refused before it is decoded."""


class NoAnswer(ImageError):
    """An image that was read, but that the model cannot run on, or gives logits for that are not finite."""

    @classmethod
    def of_logits(cls, name: str) -> NoAnswer:
        """The error for an image whose logits are infinite, or not numbers."""
        return cls(f"the model gives no answer for {name}", "its logits are not finite numbers")
