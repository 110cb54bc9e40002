"""A repository of Triton: the model, its preprocessing as a graph, and an ensemble of the two."""
