"""An S3 server for tests: moto's, asked for keys as a real store asks, and with conditional writes that are atomic.

    python serve_s3.py KEY… [--no-conditions]

Prints its port. It ends when its standard input does.
"""

from __future__ import annotations

import sys
import threading

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

_REFUSED = b"<?xml version='1.0'?><Error><Code>InvalidAccessKeyId</Code><Message>no such key</Message></Error>"


class Guarded:
    """Knows the access keys that are let in, but does not check signatures; moto would have to be told of users."""

    def __init__(self, keys: list[str], conditions: bool) -> None:
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.keys, self.conditions, self.writing = keys, conditions, threading.Lock()

    def __call__(self, environ, start_response):
        signed = environ.get("HTTP_AUTHORIZATION", "")
        if not any(f"Credential={key}/" in signed for key in self.keys):
            length = int(environ.get("CONTENT_LENGTH") or 0)
            environ["wsgi.input"].read(length)  # or the client would find the connection broken
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [] if environ["REQUEST_METHOD"] == "HEAD" else [_REFUSED]
        if not self.conditions:
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if "HTTP_IF_NONE_MATCH" in environ:
            with self.writing:  # moto looks first and writes then
                return list(self.moto(environ, start_response))
        return self.moto(environ, start_response)


if __name__ == "__main__":
    keys = [one for one in sys.argv[1:] if not one.startswith("-")]
    app = Guarded(keys, "--no-conditions" not in sys.argv)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_port, flush=True)
    sys.stdin.read()
