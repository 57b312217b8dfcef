"""Files over HTTP, by Python's own server: `file_origin.py DIRECTORY`. Prints one JSON line with its address."""

import functools
import http.server
import json
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=sys.argv[1]))
print(json.dumps({"listening": f"127.0.0.1:{server.server_address[1]}"}), flush=True)
server.serve_forever()
