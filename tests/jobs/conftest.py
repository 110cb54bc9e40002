from tests.training.conftest import digits

__all__ = ["digits"]
