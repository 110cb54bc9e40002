"""OpenVINO's own format, tried in a process of its own: what opening it costs is not known before.

OpenVINO computes sizes and constants as soon as it reads a model, and a few kB can make that days, or any memory. There
the system stops it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from hashlib import sha256

from convsmith.bundle.onnx_work import limit_factor, too_much
from convsmith.errors import ConvsmithError
from convsmith.system import kill_all_of, limit_process

# On one core; a ResNet-50 takes 0.8 seconds and 0.35 GiB.
_SECONDS, _SECONDS_OF_A_MEGABYTE = 30, 0.5
_BYTES, _BYTES_OF_A_BYTE = 4 * 2**30, 8
_WAITING = 10  # times as long where cores are busy
_USUAL = (1, 3, 64, 64)  # of sides that a model leaves open

_passed: set[str] = set()


def try_model(xml: bytes, weights: bytes) -> None:
    """Open a model and run it on one image, in another process.

    Raises:
        ConvsmithError: that takes far longer, or more memory, than models of images take; or OpenVINO refuses it; or
            there can be no other process.
    """
    digest, factor = sha256(xml + weights).hexdigest(), limit_factor()
    if digest in _passed or not factor:
        return
    size = len(xml) + len(weights)
    seconds = round(factor * (_SECONDS + _SECONDS_OF_A_MEGABYTE * size / 2**20))
    memory = round(factor * (_BYTES + _BYTES_OF_A_BYTE * size))
    words = [sys.executable, "-P", "-m", __name__, *map(str, (len(xml), seconds, memory))]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }  # wherever this one has found us
    try:
        with subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(xml + weights, _WAITING * seconds)
            finally:
                with suppress(ProcessLookupError):
                    kill_all_of(process)  # and what it has started, which else would wait for ever
        code, said = process.returncode, output.decode(errors="replace").strip()
    except subprocess.TimeoutExpired:
        code, said = 1, ""
    except OSError as error:
        why = error.strerror or str(error)
        raise ConvsmithError("cannot start a process to try the model", why, "Free memory or processes.") from error
    if code == 0:
        _passed.add(digest)
    elif said:
        raise ConvsmithError("OpenVINO cannot load the model", said)
    else:
        raise too_much(f"OpenVINO cannot open it within {seconds} seconds and {memory / 2**30:.0f} GiB")


def _try(xml_length: int, seconds: int, memory: int) -> None:
    """Open and run the model in the other process: it ends with 0 if all went well, or says why OpenVINO refuses it."""
    limit_process(seconds, memory)
    import numpy as np
    import openvino

    content = sys.stdin.buffer.read()
    try:
        core = openvino.Core()
        network = core.compile_model(core.read_model(content[:xml_length], content[xml_length:]), "CPU")
        sides = network.inputs[0].partial_shape
        shape = [side.get_length() if side.is_static else usual for side, usual in zip(sides, _USUAL, strict=True)]
        network.create_infer_request().infer([np.zeros(shape, np.uint8)])
    except (RuntimeError, ValueError) as error:
        if "alloc" not in str(error):
            print(str(error).strip().split("\n")[-1])
        sys.exit(1)


if __name__ == "__main__":
    _try(*map(int, sys.argv[1:]))
