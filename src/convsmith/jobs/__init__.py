"""The verbs that make something of trained models and whole data sets."""
