"""The architectures, one file per family."""
