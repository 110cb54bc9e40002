"""Looking at every sample before a training step is spent on one."""
