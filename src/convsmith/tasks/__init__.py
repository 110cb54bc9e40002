"""What differs between classification and other tasks: loss, batch mixing, metrics."""
