"""Those who watch a run: console, files, TensorBoard."""
