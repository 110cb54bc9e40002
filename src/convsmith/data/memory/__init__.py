"""Images that a Python program holds."""
