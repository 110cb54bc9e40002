"""Asks a server with tritonclient alone, by the Python of its own environment; prints what it finds as JSON.

Arguments: `http` or `grpc`, HOST:PORT, and a file with an image. Knows nothing of convsmith but names.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(protocol: str, address: str, image: str) -> None:
    """Ask everything that a client can ask."""
    triton: Any = importlib.import_module(f"tritonclient.{protocol}")
    as_json = {} if protocol == "http" else {"as_json": True}
    found: dict[str, Any] = {}
    with triton.InferenceServerClient(address) as client:
        found["health"] = [client.is_server_live(), client.is_server_ready(), client.is_model_ready("model")]
        found["no_model"] = client.is_model_ready("none")
        found["server"] = client.get_server_metadata(**as_json)["name"]
        about = client.get_model_metadata("model", model_version="1", **as_json)
        found["inputs"] = [
            [it["name"], it["datatype"], [int(length) for length in it["shape"]]] for it in about["inputs"]
        ]
        index = client.get_model_repository_index(**as_json)
        found["index"] = (index if protocol == "http" else index["models"])[0]["state"]

        content = np.array([Path(image).read_bytes()] * 2, dtype=np.object_)
        files = triton.InferInput("files", [2], "BYTES")
        files.set_data_from_numpy(content)
        result = client.infer("model", [files], request_id="7")
        found["labels"] = [it.decode() for it in result.as_numpy("label").tolist()]
        found["scores"] = result.as_numpy("score").tolist()
        response = result.get_response(**as_json)
        found["id"] = response["id"]

        pixels = np.zeros((2, 3, 8, 8), np.uint8)
        pixels[1, 2] = 200
        images = triton.InferInput("images", [2, 3, 8, 8], "UINT8")
        images.set_data_from_numpy(pixels)
        wanted = [triton.InferRequestedOutput("logits"), triton.InferRequestedOutput("class_id")]
        result = client.infer("model", [images], model_version="1", outputs=wanted)
        found["logits"] = result.as_numpy("logits").tolist()
        found["class_id"] = result.as_numpy("class_id").tolist()
        found["not_wanted"] = result.as_numpy("label") is None
        best = client.infer("model", [images], outputs=[triton.InferRequestedOutput("logits", class_count=1)])
        found["best"] = [it.decode().split(":")[1:] for it in best.as_numpy("logits").ravel().tolist()]

        found["errors"] = []
        wrong = triton.InferInput("images", [1, 3, 7, 8], "UINT8")
        wrong.set_data_from_numpy(np.zeros((1, 3, 7, 8), np.uint8))
        for name, inputs in (("none", [files]), ("model", [wrong])):
            try:
                client.infer(name, inputs)
            except Exception as error:
                found["errors"].append([type(error).__name__, str(error)])
        client.unload_model("model")
        found["unloaded"] = client.is_model_ready("model")
        client.load_model("model")
        found["loaded"] = client.is_model_ready("model")
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
