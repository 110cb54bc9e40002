"""The model families, one file each, found by their `MODELS`."""
