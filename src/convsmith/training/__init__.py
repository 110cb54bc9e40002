"""The training engine: run, loop, checkpoints, observers."""

import os

# Threads that spin while they wait take the cores from the loader and from any neighbour on a small machine. libgomp
# spins 300,000 rounds, and 1,000 where it knows itself to be short of cores: take that. It reads this when torch loads.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
