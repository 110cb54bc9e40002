"""Starting a training as several processes. Knows nothing of what they do."""
