"""Training of each task: a file of the task's name, see `convsmith.tasks.base`; mixing, losses and teachers beside."""
