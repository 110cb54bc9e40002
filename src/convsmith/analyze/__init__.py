"""Measuring and explaining what was trained."""
