from tests.training.conftest import digits, tiny

__all__ = ["digits", "tiny"]
