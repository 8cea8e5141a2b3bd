"""A web server for MTA-STS policies of many domains, with a certificate for all of them."""
import web


class Handler(web.Handler):
    def do_GET(self):
        host = self.headers["Host"].split(":")[0]
        assert host.startswith("mta-sts.")
        self.server.owner.get(self, host.removeprefix("mta-sts."))


def policy(mode, *mx, age=86400, end="\r\n"):
    return end.join(["version: STSv1", "mode: " + mode, *("mx: " + m for m in mx), "max_age: %d" % age, ""]).encode()


class PolicyHost:
    """policies: domain -> its policy, or a function of the request; requests: the domains whose policy was asked for."""

    def __init__(self, pem, key, address="127.0.0.1"):
        self.policies, self.requests = {}, []
        self.server = web.Server(address, Handler, self, pem, key)
        self.port = self.server.port

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
        self.server.close()
