"""Stand-ins for Google Cloud Storage, Amazon S3 and the Hugging Face hub: a folder, by what their clients ask."""

from __future__ import annotations

import hashlib
import http.server
import json
import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.answering import answering

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Store(http.server.BaseHTTPRequestHandler):
    """Answers GET, HEAD and POST from the files below `root`; buckets, or repositories, are its folders."""

    protocol_version = "HTTP/1.1"
    root: ClassVar[Path]

    def log_message(self, *_: Any) -> None: ...

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.answer(unquote(url.path), {key: values[0] for key, values in parse_qs(url.query).items()})

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.do_GET()

    def answer(self, path: str, query: dict[str, str]) -> None:
        raise NotImplementedError

    def listed(self, bucket: str, prefix: str, deep: bool) -> tuple[list[Path], list[str]]:
        """The files whose path in a bucket begins so, and, unless it is to be deep, the folders directly below it."""
        above = self.root / bucket
        found = [path for path in sorted(above.rglob("*")) if path.is_file()]
        names = {path: path.relative_to(above).as_posix() for path in found}
        begun = {path: name[len(prefix) :] for path, name in names.items() if name.startswith(prefix)}
        files = [path for path, rest in begun.items() if deep or "/" not in rest]
        folders = {prefix + rest.partition("/")[0] + "/" for rest in begun.values() if "/" in rest and not deep}
        return files, sorted(folders)

    def send(self, content: bytes, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def send_json(self, facts: object, status: int = 200) -> None:
        code = {} if status == 200 else {"X-Error-Code": str(facts)}  # the hub's clients ask for it
        self.send(json.dumps(facts).encode(), status, {"Content-Type": "application/json", **code})

    def send_file(self, path: Path) -> None:
        """The bytes of a file, or those of a range."""
        content = path.read_bytes()
        headers = {
            "ETag": f'"{etag(path)}"',
            "Last_Modified": "Thu, 01 Jan 2026 00:00:00 GMT",
            "Accept_Ranges": "bytes",
        }
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            start, end = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            self.send(content[start : end + 1], 206, headers)
        else:
            self.send(content, 200, headers)


def etag(path: Path) -> str:
    """A name for what is in a file."""
    return hashlib.md5(path.read_bytes()).hexdigest()


class Gcs(Store):
    """Answers as the JSON API of Google Cloud Storage does."""

    def answer(self, path: str, query: dict[str, str]) -> None:
        match = re.fullmatch(r"(/download)?/storage/v1/b/([^/]+)/o(?:/(.+))?", path)
        if match is None:
            self.send_json({}, 404)
        elif match[3] is None:
            files, folders = self.listed(match[2], query.get("prefix", ""), not query.get("delimiter"))
            self.send_json({"items": [self._facts(match[2], file) for file in files], "prefixes": folders})
        elif not (file := self.root / match[2] / match[3]).is_file():
            self.send_json({"error": {"code": 404, "message": "No such object"}}, 404)
        elif match[1] or query.get("alt") == "media":
            self.send_file(file)
        else:
            self.send_json(self._facts(match[2], file))

    def _facts(self, bucket: str, file: Path) -> dict[str, object]:
        name = file.relative_to(self.root / bucket).as_posix()
        size, time = str(file.stat().st_size), "2026-01-01T00:00:00.000Z"
        return {
            "name": name,
            "bucket": bucket,
            "size": size,
            "md5Hash": etag(file),
            "updated": time,
            "timeCreated": time,
        }


class S3(Store):
    """Answers as Amazon S3 does, with the bucket in the path."""

    def answer(self, path: str, query: dict[str, str]) -> None:
        bucket, _, key = path.strip("/").partition("/")
        if not key:
            files, folders = self.listed(bucket, query.get("prefix", ""), not query.get("delimiter"))
            self._send_list(bucket, files, folders)
        elif (file := self.root / bucket / key).is_file():
            self.send_file(file)
        else:
            self.send(b"<Error><Code>NoSuchKey</Code><Message>none</Message></Error>", 404, {})

    def _send_list(self, bucket: str, files: list[Path], folders: list[str]) -> None:
        parts = [
            f"<Contents><Key>{escape(file.relative_to(self.root / bucket).as_posix())}</Key>"
            f"<Size>{file.stat().st_size}</Size><ETag>&quot;{etag(file)}&quot;</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for file in files
        ]
        parts += [f"<CommonPrefixes><Prefix>{escape(folder)}</Prefix></CommonPrefixes>" for folder in folders]
        count = f"<KeyCount>{len(parts)}</KeyCount><IsTruncated>false</IsTruncated>"
        self.send(
            f"<ListBucketResult>{count}{''.join(parts)}</ListBucketResult>".encode(), 200, {"Content-Type": "text/xml"}
        )


class Hub(Store):
    """Answers as the hub of Hugging Face does for data sets; their names are `OWNER/NAME`."""

    body: Any = None

    def answer(self, path: str, _query: dict[str, str]) -> None:
        if match := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
            file = self.root / match[1] / match[2]
            self.send_file(file) if file.is_file() else self._lacks("EntryNotFound")
            return
        match = re.fullmatch(r"/api/datasets/([^/]+/[^/]+)(?:/([a-z-]+)/([^/]+)(?:/(.+))?)?", path)
        if match is None or not (self.root / match[1]).is_dir():
            self._lacks("RepoNotFound")
        elif match[2] in (None, "revision"):
            self.send_json({"id": match[1], "sha": COMMIT, "siblings": [], "tags": [], "private": False})
        elif match[2] == "paths-info":
            there = [self.root / match[1] / name for name in self.body["paths"]]
            self.send_json([self._facts(match[1], one) for one in there if one.exists()])
        elif (folder := self.root / match[1] / (match[4] or "")).is_dir():
            self.send_json([self._facts(match[1], one) for one in sorted(folder.iterdir())])
        else:
            self._lacks("EntryNotFound")

    def _facts(self, name: str, one: Path) -> dict[str, object]:
        path = one.relative_to(self.root / name).as_posix()
        if one.is_dir():
            return {"type": "directory", "path": path, "oid": COMMIT}
        return {"type": "file", "path": path, "size": one.stat().st_size, "oid": etag(one)}

    def _lacks(self, code: str) -> None:
        self.send_json(code, 404)


def serving(kind: type[Store], folder: Path) -> AbstractContextManager[str]:
    """The address of a server of a folder."""
    return answering(type("Handler", (kind,), {"root": folder}))
