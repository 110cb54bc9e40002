"""Tar shards in WebDataset's layout: indexed, read in place, written."""
