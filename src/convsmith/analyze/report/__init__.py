"""The report: one page about a run, a bundle or a ladder, and the same numbers as JSON."""
