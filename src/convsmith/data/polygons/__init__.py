"""Areas of images as files outline them: polygons and runs of pixels, drawn as masks by one rule."""
