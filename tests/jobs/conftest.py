from tests.training.conftest import digits, precision_is_fp32, tiny

__all__ = ["digits", "precision_is_fp32", "tiny"]
