"""Published and other people's weights: download, names, loading."""
