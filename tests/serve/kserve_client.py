"""Asks a server with KServe's client alone, by the Python of its own environment; prints what it finds as JSON.

Arguments: the address of HTTP, HOST:PORT of gRPC, and a file with an image. Knows nothing of convsmith but names.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


async def main(url: str, address: str, image: str) -> None:
    """Ask over both protocols, with values in fields and raw."""
    kserve: Any = importlib.import_module("kserve")
    http = kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2"))
    rpc = kserve.InferenceGRPCClient(address)
    found: dict[str, Any] = {
        "http": [
            await http.is_server_live(url),
            await http.is_server_ready(url),
            await http.is_model_ready(url, "model"),
        ],
        "grpc": [await rpc.is_server_live(), await rpc.is_server_ready(), await rpc.is_model_ready("model")],
        "logits": [],
        "labels": [],
    }
    pixels = np.zeros((1, 3, 8, 8), np.uint8)
    pixels[0, 2] = 200
    content = np.array([Path(image).read_bytes()], dtype=object)
    for raw in (True, False):
        images = kserve.InferInput("images", [1, 3, 8, 8], "UINT8")
        images.set_data_from_numpy(pixels, binary_data=raw)
        request = kserve.InferRequest("model", [images])
        for answer in (await http.infer(url, request, model_name="model"), await rpc.infer(request)):
            found["logits"] += [it.as_numpy().tolist() for it in answer.outputs if it.name == "logits"]
    files = kserve.InferInput("files", [1], "BYTES")
    files.set_data_from_numpy(content, binary_data=True)
    request = kserve.InferRequest("model", [files])
    for answer in (await http.infer(url, request, model_name="model"), await rpc.infer(request)):
        labels = next(it.as_numpy() for it in answer.outputs if it.name == "label")
        found["labels"] += [it.decode() if isinstance(it, bytes) else it for it in labels.tolist()]
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
