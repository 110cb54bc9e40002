"""The recipe: what to train, checked, resolved and turned into numbers. Knows no torch."""
