"""A service that responds with what it receives, at the address in its argument."""

import sys
from http.server import BaseHTTPRequestHandler, HTTPServer


class Service(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        key, token = self.headers["Gatehouse-Key-Id"], self.headers["X-API-Key"]
        body = f"{self.path} for key {key}; its token: {token}\n".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        """No output."""


host, _, port = sys.argv[1].rpartition(":")
server = HTTPServer((host, int(port)), Service)
print("service ready", flush=True)
server.serve_forever()
