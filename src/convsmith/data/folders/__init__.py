"""Folders of images: what is in them, and what is meant by it."""
