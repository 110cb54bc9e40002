"""The training engine: run, loop, checkpoints, observers."""

import os

# Threads that spin while they wait starve the loader, and any neighbour, on a small machine: a training there runs four
# times slower. It must be set before torch is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
