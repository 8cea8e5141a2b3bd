"""A web server for MTA-STS policies of many domains, with a certificate for all of them."""
import http.server
import ssl
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, body, status=200, kind="text/plain", **fields):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        host = self.headers["Host"].split(":")[0]
        assert host.startswith("mta-sts.")
        self.server.owner.get(self, host.removeprefix("mta-sts."))


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024  # past a queue of five a connection waits for seconds, until its client's kernel tries again


def policy(mode, *mx, age=86400, end="\r\n"):
    return end.join(["version: STSv1", "mode: " + mode, *("mx: " + m for m in mx), "max_age: %d" % age, ""]).encode()


class PolicyHost:
    """policies: domain -> its policy, or a function of the request; requests: the domains whose policy was asked for."""

    def __init__(self, pem, key, address="127.0.0.1"):
        self.policies, self.requests = {}, []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key)
        self.server = Server((address, 0), Handler)
        self.server.daemon_threads = True
        self.server.owner = self
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def get(self, request, domain):
        self.requests.append(domain if request.path == "/.well-known/mta-sts.txt" else request.path)
        said = self.policies.get(domain)
        if callable(said):
            said(request)
        elif said is None:
            request.answer(b"not here", 404)
        else:
            request.answer(said)

    def close(self):
        self.server.shutdown()
        self.server.server_close()
