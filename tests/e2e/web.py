"""What the web servers of tests have in common: TLS, and room for all who connect at once."""
import http.server
import ssl
import threading

from remote import BACKLOG


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kind = "text/plain"

    def log_message(self, *args):
        pass

    def answer(self, body, status=200, kind=None, **fields):
        self.send_response(status)
        self.send_header("Content-Type", kind or self.kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in fields.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    """Serves from its making on; its handlers find `owner` in it."""

    request_queue_size = BACKLOG
    daemon_threads = True

    def __init__(self, address, handler, owner, pem, key):
        super().__init__((address, 0), handler)
        self.owner, self.port = owner, self.server_address[1]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()
