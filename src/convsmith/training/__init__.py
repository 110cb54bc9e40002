"""The training engine: run, loop, checkpoints, observers."""
