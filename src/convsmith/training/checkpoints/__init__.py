"""Checkpoints and their writer."""
