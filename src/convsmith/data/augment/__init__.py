"""Changes to training images, and to their masks."""
