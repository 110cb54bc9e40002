"""Tables with a row for each image."""
