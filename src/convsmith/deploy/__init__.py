"""From a trained model to a proved bundle."""
