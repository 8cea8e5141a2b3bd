"""An identity provider on 127.0.0.1: introspection, a key set, tokens signed with openssl(1); and a host that does all that a host must not."""
import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.parse

import web
from tls_files import KINDS, issued, openssl

ISSUER = "https://id.example.com/realms/mail"
AUDIENCE = "mailwain"
CLIENT = ("mail server", "s3cret:with/signs")
ALGORITHMS = {"RS256": "rsa2048", "PS256": "rsa2048", "ES256": "p256", "EdDSA": "ed25519"}


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Key:
    """A key pair of the provider's."""

    def __init__(self, where, algorithm, kid):
        self.algorithm, self.kid = algorithm, kid
        self.path = os.path.join(where, kid + ".key")
        args = KINDS[ALGORITHMS[algorithm]][1:]
        openssl("genpkey", "-algorithm", {"rsa:2048": "RSA", "ec": "EC", "ed25519": "ED25519"}[args[0]], *args[1:], "-out", self.path)
        self.der = subprocess.run(["openssl", "pkey", "-in", self.path, "-pubout", "-outform", "DER"], capture_output=True, check=True).stdout

    def jwk(self):
        """The public half as in a key set."""
        if self.algorithm == "EdDSA":
            kind = {"kty": "OKP", "crv": "Ed25519", "x": b64(self.der[-32:])}
        elif self.algorithm == "ES256":
            kind = {"kty": "EC", "crv": "P-256", "x": b64(self.der[-64:-32]), "y": b64(self.der[-32:])}
        else:
            modulus = openssl("rsa", "-in", self.path, "-noout", "-modulus").stdout.strip().split("=")[1]
            kind = {"kty": "RSA", "n": b64(bytes.fromhex(modulus)), "e": "AQAB"}
        return {"kid": self.kid, "alg": self.algorithm, "use": "sig", **kind}

    def sign(self, data):
        with tempfile.NamedTemporaryFile() as f:
            f.write(data)
            f.flush()
            command = ["openssl", "pkeyutl", "-sign", "-inkey", self.path, "-rawin", "-in", f.name]
            if self.algorithm != "EdDSA":
                command += ["-digest", "sha256"]
            if self.algorithm == "PS256":
                command += ["-pkeyopt", "rsa_padding_mode:pss", "-pkeyopt", "rsa_pss_saltlen:digest"]
            out = subprocess.run(command, capture_output=True, check=True).stdout
        return raw(out) if self.algorithm == "ES256" else out


def raw(der):
    """An ECDSA signature as two numbers of 32 octets, as JWS has it."""
    out, at = b"", 2
    for _ in range(2):
        size = der[at + 1]
        out += int.from_bytes(der[at + 2 : at + 2 + size], "big").to_bytes(32, "big")
        at += 2 + size
    return out


def claims(user, **more):
    now = int(time.time())
    return {"iss": ISSUER, "aud": ["other", AUDIENCE], "email": user, "iat": now, "exp": now + 300, "scope": "openid mail", **more}


def token(key, body, **header):
    head = {"alg": key.algorithm if key else "none", "typ": "JWT", **header}
    if key and "kid" not in head:
        head["kid"] = key.kid
    head = {name: value for name, value in head.items() if value is not None}
    text = b64(json.dumps(head).encode()) + "." + b64(json.dumps(body).encode())
    return text + "." + (b64(key.sign(text.encode())) if key else "")


class Handler(web.Handler):
    kind = "application/json"

    def do_POST(self):
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.server.owner.introspect(self, form.get("token", [""])[0])

    def do_GET(self):
        self.server.owner.get(self)


class Provider:
    """answers: path -> what is done with the request, in place of what an identity provider does."""

    def __init__(self, name="127.0.0.1", **certificate):
        self.where = tempfile.mkdtemp(prefix="mailwain-idp-")
        os.chmod(self.where, 0o755)
        self.requests = []
        self.keys = []
        self.tokens = {}  # of introspection: token -> answer
        self.answers = {}
        pem, key = issued(self.where, name, **{"address": "127.0.0.1", **certificate})
        self.authorities = os.path.join(self.where, "ca.pem")
        self.server = web.Server("127.0.0.1", Handler, self, pem, key)
        self.port = self.server.port

    def __enter__(self):
        return self

    def __exit__(self, *args):
        self.server.close()
        shutil.rmtree(self.where, ignore_errors=True)

    def url(self, path):
        return "https://127.0.0.1:%d%s" % (self.port, path)

    def key(self, algorithm, kid):
        return Key(self.where, algorithm, kid)

    def settings(self):
        """Lines of a configuration that believes this provider's certificate."""
        return ["fetch-authorities " + self.authorities, "fetch-private-networks 127.0.0.0/8"]

    def with_keys(self):
        return self.settings() + ["oauth-jwks " + self.url("/jwks"), "oauth-issuer " + ISSUER, "oauth-audience " + AUDIENCE]

    def with_introspection(self):
        path = os.path.join(self.where, "secret")
        with open(path, "w") as f:
            f.write(CLIENT[1] + "\n")
        return self.settings() + ["oauth-introspection " + self.url("/introspect"), 'oauth-client-id "%s"' % CLIENT[0], "oauth-client-secret " + path]

    def count(self, path):
        return len([p for p in self.requests if p == path])

    def introspect(self, handler, text):
        self.requests.append(handler.path)
        if handler.path in self.answers:
            self.answers[handler.path](handler)
            return
        expected = base64.b64encode(":".join(urllib.parse.quote(part, safe="") for part in CLIENT).encode()).decode()
        if handler.headers["Authorization"] != "Basic " + expected:
            handler.answer(b'{"error":"invalid_client"}', 401)
            return
        handler.answer(json.dumps(self.tokens.get(text, {"active": False})).encode())

    def get(self, handler):
        self.requests.append(handler.path)
        if handler.path in self.answers:
            self.answers[handler.path](handler)
        elif handler.path == "/jwks":
            handler.answer(json.dumps({"keys": [k.jwk() for k in self.keys]}).encode(), Cache_Control="public, max-age=3600")
        else:
            handler.answer(b"{}", 404)
