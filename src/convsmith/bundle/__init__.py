"""The bundle: a trained model with its preprocessing and labels, usable without torch."""
