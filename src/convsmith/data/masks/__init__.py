"""Images with a mask each: finding them, reading them, and the facts in their pixels."""
