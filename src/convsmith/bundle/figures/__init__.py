"""How right a model is on labelled images, and how sure that is."""
