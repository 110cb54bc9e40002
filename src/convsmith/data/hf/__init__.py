"""Data sets of Hugging Face."""
