"""A stand-in for the Hugging Face Hub on this machine, as far as files are asked for and committed."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.answering import answering
from tests.forked import run_python

COMMIT = "a" * 40
TOKEN = "hf_of_someone"


class Hub:
    """The files of one repository of models.

    Attributes:
        files: content by path.
        asked: the paths of all requests for files.
        made: what was asked for when the repository was made.
        url: where it answers.
    """

    url = ""

    def __init__(self, files: dict[str, bytes], repository: str = "someone/digits") -> None:
        hub = self
        self.files, self.asked, self.made = files, list[str](), list[dict[str, Any]]()
        stored: dict[str, bytes] = {}

        class Handler(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                hub.asked.append(self.path)
                name = self.path.partition("/resolve/")[2].partition("/")[2]
                known = self.path.startswith(f"/{repository}/resolve/") and name in files
                self.send_response(200 if known else 404)
                if known:
                    self.send_header("ETag", f'"{hashlib.sha256(files[name]).hexdigest()}"')
                    self.send_header("Content-Length", str(len(files[name])))
                else:
                    is_repo = self.path.startswith(f"/{repository}/")
                    self.send_header("X-Error-Code", "EntryNotFound" if is_repo else "RepoNotFound")
                self.send_header("X-Repo-Commit", COMMIT)
                self.end_headers()

            def do_GET(self) -> None:
                self.do_HEAD()
                self.wfile.write(files.get(self.path.partition("/resolve/")[2].partition("/")[2], b""))

            def do_PUT(self) -> None:
                stored[self.path.rpartition("/")[2]] = self._body()
                self._answer(200, {})

            def do_POST(self) -> None:
                body = self._body()
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    self._answer(401, {"error": "Invalid username or password."})
                elif self.path == "/api/repos/create":
                    hub.made.append(json.loads(body))
                    self._answer(200, {"url": f"{hub.url}/{repository}"})
                elif self.path == "/api/validate-yaml":
                    self._answer(200, {"errors": [], "warnings": []})
                elif "/preupload/" in self.path:
                    ways = [
                        {"path": it["path"], "uploadMode": "lfs" if ".onnx" in it["path"] else "regular"}
                        for it in json.loads(body)["files"]
                    ]
                    self._answer(200, {"files": [{**way, "shouldIgnore": False, "oid": None} for way in ways]})
                elif self.path.endswith("/info/lfs/objects/batch"):
                    objects = [
                        {**it, "actions": {"upload": {"href": f"{hub.url}/store/{it['oid']}"}}}
                        for it in json.loads(body)["objects"]
                    ]
                    self._answer(200, {"transfer": "basic", "objects": objects})
                elif "/commit/" in self.path:
                    for line in map(json.loads, body.splitlines()):
                        self._commit(line["key"], line["value"])
                    url = f"{hub.url}/{repository}/commit/{COMMIT}"
                    self._answer(200, {"commitUrl": url, "commitOid": COMMIT, "hookOutput": ""})
                else:
                    self._answer(404, {"error": self.path})

            def _commit(self, key: str, value: dict[str, Any]) -> None:
                if key == "file":
                    files[value["path"]] = base64.b64decode(value["content"])
                elif key == "lfsFile":
                    files[value["path"]] = stored[value["oid"]]

            def _body(self) -> bytes:
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))

            def _answer(self, status: int, values: dict[str, Any]) -> None:
                content = json.dumps(values).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *words: object) -> None:  # noqa: A002
                pass

        self.handler = Handler


@contextmanager
def running(hub: Hub) -> Iterator[Hub]:
    """Let it answer."""
    with answering(hub.handler) as hub.url:
        yield hub


def python(code: str, hub: Hub, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own: huggingface_hub reads its environment when it is imported."""
    own = {"HF_ENDPOINT": hub.url, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "no_proxy": "127.0.0.1"}
    alone = "import os; os.environ.pop('HF_HUB_OFFLINE', None)"  # another test may set it
    return run_python(f"{alone}\n{code}", {**own, **environment})
