"""What ``huggingface_hub`` asks of the Hub to list and read a dataset, answered from a folder.

python tests/read/hub_server.py FOLDER: repositories are FOLDER/namespace/name; prints its address.
"""

from __future__ import annotations

import json
import re
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

COMMIT = "0" * 40


class Hub(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    root: Path

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        path = unquote(url.path)
        if found := re.fullmatch(
            r"/api/datasets/([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+)(?:/(.*))?)?", path
        ):
            repository, kind, _, below = found.groups()
            home = self.root / repository
            if not home.is_dir():
                return self.say(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
            if kind == "tree":
                return self.tree(home, home / (below or ""), parse_qs(url.query))
            if kind == "paths-info":
                asked = parse_qs(body.decode()).get("paths") or json.loads(body or b"{}").get("paths", [])
                return self.say(200, [self.entry(home, home / one) for one in asked if (home / one).exists()])
            return self.say(200, {"id": repository, "sha": COMMIT, "private": False, "tags": [], "siblings": []})
        if found := re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/[^/]+/(.*)", path):
            return self.send(self.root / found[1] / found[2])
        return self.say(404, {"error": "not found"})

    def tree(self, home: Path, folder: Path, query: dict[str, list[str]]) -> None:
        if not folder.is_dir():
            return self.say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        deep = query.get("recursive", ["false"])[0].lower() in ("true", "1")
        return self.say(200, [self.entry(home, one) for one in sorted(folder.rglob("*") if deep else folder.iterdir())])

    @staticmethod
    def entry(home: Path, path: Path) -> dict[str, Any]:
        known = {"path": path.relative_to(home).as_posix(), "oid": "0" * 40, "size": 0}
        if path.is_dir():
            return {**known, "type": "directory"}
        return {**known, "type": "file", "size": path.stat().st_size}

    def send(self, path: Path) -> None:
        if not path.is_file():
            return self.say(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        data, status, more = path.read_bytes(), 200, {}
        if found := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            first, last = int(found[1]), min(int(found[2] or len(data)), len(data) - 1)
            more = {"Content-Range": f"bytes {first}-{last}/{len(data)}"}
            data, status = data[first : last + 1], 206
        return self.reply(status, data, {"ETag": f'"{path.stat().st_size}"', "X-Repo-Commit": COMMIT, **more})

    def say(self, status: int, what: Any, more: dict[str, str] | None = None) -> None:
        self.reply(status, json.dumps(what).encode(), {"Content-Type": "application/json", **(more or {})})

    def reply(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data)), "Accept-Ranges": "bytes"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


if __name__ == "__main__":
    Hub.root = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
