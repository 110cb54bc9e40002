"""The order of the samples, and the processes that read them."""
