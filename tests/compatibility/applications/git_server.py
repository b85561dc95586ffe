"""Serves repositories with `git http-backend`: port, folder."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterable

from cheroot.wsgi import Server


def serve(environ: dict[str, object], start_response: Callable[..., object]) -> Iterable[bytes]:
    names = ("PATH_INFO", "QUERY_STRING", "REQUEST_METHOD", "CONTENT_TYPE", "HTTP_GIT_PROTOCOL")
    variables = {name: str(environ.get(name, "")) for name in names}
    variables |= {"GIT_PROJECT_ROOT": sys.argv[2], "GIT_HTTP_EXPORT_ALL": "1"}
    variables |= {"REMOTE_USER": "test", "GIT_PROTOCOL": variables.pop("HTTP_GIT_PROTOCOL")}
    if environ.get("HTTP_CONTENT_ENCODING"):
        variables["HTTP_CONTENT_ENCODING"] = str(environ["HTTP_CONTENT_ENCODING"])
    body = environ["wsgi.input"].read()  # type: ignore[attr-defined]
    result = subprocess.run(
        ["git", "http-backend"],
        input=body,
        env={**os.environ, **variables},
        capture_output=True,
        check=True,
    )
    head, _, content = result.stdout.partition(b"\r\n\r\n")
    headers = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n")]
    status = next((value for name, value in headers if name == "Status"), "200 OK")
    start_response(status, [header for header in headers if header[0] != "Status"])
    return [content]


Server(("127.0.0.1", int(sys.argv[1])), serve).start()
