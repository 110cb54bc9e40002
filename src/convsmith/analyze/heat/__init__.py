"""Heat maps: which places of an image a model's answer rests on."""
