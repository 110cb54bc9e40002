"""convsmith."""
