"""From the bytes of an image to the pixels that a model takes, safely."""
