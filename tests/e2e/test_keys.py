"""Private keys are in one process: no other has a copy, nobody else is answered, and clients notice nothing when it is gone for a moment."""
import array
import hashlib
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading

import pytest

from mailwain import BUILD, until
from tls_files import context, der_of, handshake, make, openssl, secrets_of

AS_ROOT = os.geteuid() == 0
NETWORK = {"smtpd", "submission", "imapd", "lmtpd"}


def memory_of(pid, mode="r"):
    """All that can be read of a process's memory; "rw": and written."""
    out = []
    with open("/proc/%d/maps" % pid) as maps, open("/proc/%d/mem" % pid, "rb", 0) as mem:
        for line in maps:
            low, high = (int(n, 16) for n in line.split()[0].split("-"))
            if " " + mode not in line or "[v" in line:
                continue
            try:
                mem.seek(low)
                out.append(mem.read(high - low))
            except OSError:
                pass
    return out


def held(memory, octets):
    """As OpenSSL keeps numbers, lowest octet first, or as they are written."""
    return any(octets in piece or octets[::-1] in piece for piece in memory)


@pytest.fixture(scope="module")
def suite():
    from mailwain import Instance

    with Instance(listeners=["lmtp"]).running("alice") as i:
        yield i


@pytest.mark.skipif(not AS_ROOT, reason="needs root to read the memory of daemons")
@pytest.mark.skipif(os.environ.get("SANITIZED") is not None, reason="a sanitizer's shadow has terabytes")
@pytest.mark.parametrize("kind", ["p256", "rsa2048", "rsa4096", "ed25519"])
def test_no_daemon_but_keys_has_a_copy(suite, kind):
    etc = os.path.join(suite.root, "etc")
    pem, key = make(etc, "mail.example.com", kind)
    suite.mw("reload")
    for service in ("imaps", "smtp", "submission", "submissions"):
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for _ in range(3):
                connection, shown = handshake(suite, service, version=version)
                assert shown == der_of(pem) and connection.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2", ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
                connection.close()
    secrets, daemons = secrets_of(key), suite.daemons()
    assert set(secrets) == ({"priv"} if kind in ("p256", "ed25519") else {"privateExponent", "prime1", "prime2"})
    with open(key) as f:
        secrets["text"] = f.read().splitlines()[1].encode()
    assert NETWORK < set(daemons)
    for name, octets in secrets.items():
        if name != "text":
            assert held(memory_of(daemons["keys"]), octets), "the test sees it where it must be: " + name
    for daemon in set(daemons) - {"keys"}:
        seen = memory_of(daemons[daemon])
        assert held(seen, b"mail.example.com"), "the test sees nothing in " + daemon
        for name, octets in secrets.items():
            assert not held(seen, octets), (daemon, name)


def test_no_handshake_fails_while_keys_starts_again(suite):
    """Those who come just then wait for the next one."""
    done, failed = [], []

    def client():
        try:
            handshake(suite)[0].close()
            done.append(1)
        except OSError as e:
            failed.append(e)

    for _ in range(3):
        pid = suite.daemons()["keys"]
        os.kill(pid, signal.SIGSTOP)
        clients = [threading.Thread(target=client) for _ in range(10)]
        for c in clients:
            c.start()
        os.kill(pid, signal.SIGKILL)
        for c in clients:
            c.join()
        assert not failed
        until(lambda: suite.daemons()["keys"] != pid)
    assert len(done) == 30


def test_others_are_served_while_keys_is_slow(suite):
    """Whoever waits for a signature waits alone, and not for ever."""
    pid = suite.daemons()["keys"]
    talker = suite.imap("alice")
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(OSError):
            handshake(suite, timeout=0.3)  # this one gives up
        waits = socket.create_connection(("127.0.0.1", suite.port("imaps")), timeout=20)
        ended = threading.Thread(target=lambda: pytest.raises(OSError, context().wrap_socket, waits))
        ended.start()
        for _ in range(20):
            talker.ok("NOOP")
            assert suite.smtp().hello()
        ended.join()  # after five seconds
    finally:
        os.kill(pid, signal.SIGCONT)
    suite.until_logged("tls_no_signature")
    handshake(suite)[0].close()


# ---- the daemon alone, with this test in master's place ----


def field(value):
    if isinstance(value, bool):
        return struct.pack("?", value)
    if isinstance(value, int):
        return struct.pack(">I", value)
    value = value.encode() if isinstance(value, str) else value
    return struct.pack(">I", len(value)) + value


def send(sock, number, *fields, fd=None, id=0):
    data = struct.pack(">HI", number, id) + b"".join(map(field, fields))
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))] if fd is not None else [])


def sealed(text):
    fd = os.memfd_create("x")
    os.write(fd, text.encode())
    return fd


SIGN, SIGNED = 1, 2
ECDSA, SHA256 = 2, 1


class Keys:
    """build/libexec/keys on one end of a socket pair."""

    def __init__(self, tmp_path, certificate, key):
        os.chmod(tmp_path, 0o755)
        (tmp_path / "empty").mkdir(exist_ok=True)
        self.master, child = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.master.settimeout(10)
        self.process = subprocess.Popen([os.path.join(BUILD, "libexec", "keys")], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, preexec_fn=lambda: os.dup2(child.fileno(), 3), pass_fds=(3,))
        child.close()
        conf = 'config-version 1\nhostname a.test\nrun-directory "%s"\n#@ there:7\ntls-certificate "c"\n#@ there:7\ntls-key "k"\n' % tmp_path
        send(self.master, 1, 1, fd=sealed(conf))
        send(self.master, 2, "tls-certificate", fd=sealed(certificate))
        send(self.master, 2, "tls-key", fd=sealed(key))
        send(self.master, 6, 1)
        answer = self.master.recv(65536)
        self.ready = struct.unpack(">H", answer[:2])[0] == 20
        self.text = answer[14:].decode(errors="replace")

    def peer(self, role, serving=True):
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        mine.settimeout(10)
        send(self.master, 4, "keys", role, serving, 0, fd=theirs.fileno())
        theirs.close()
        return mine

    def close(self):
        self.master.close()
        self.process.wait(10)


def ask(peer, fingerprint, data, algorithm=ECDSA, digest=SHA256):
    """(code, signature)"""
    send(peer, SIGN, fingerprint, algorithm, digest, data, id=7)
    answer = peer.recv(4096)
    number, id, code, length = struct.unpack(">HIiI", answer[:14])
    assert (number, id) == (SIGNED, 7) and length == len(answer) - 14
    return code, answer[14:]


@pytest.fixture
def pair(tmp_path):
    """Texts of a certificate and its key, and the fingerprint."""
    pem, key = make(str(tmp_path), "a.test")
    der = subprocess.run(["openssl", "pkey", "-in", key, "-pubout", "-outform", "DER"], capture_output=True, check=True).stdout
    return open(pem).read(), open(key).read(), hashlib.sha256(der).digest()


def test_only_its_users_are_answered(tmp_path, pair):
    certificate, key, fingerprint = pair
    keys = Keys(tmp_path, certificate, key)
    try:
        assert keys.ready, keys.text
        for role in ("auth", "queue", "lmtpd", "deliver", "imap-session", "", "smtpd2"):
            assert keys.peer(role).recv(100) == b"", role
        assert keys.peer("smtpd", serving=False).recv(100) == b""
        for role in ("smtpd", "submission", "imapd"):
            code, signature = ask(keys.peer(role), fingerprint, b"d" * 32)
            assert code == 0
            (tmp_path / "s").write_bytes(signature)
            (tmp_path / "d").write_bytes(b"d" * 32)
            out = openssl("pkeyutl", "-verify", "-inkey", str(tmp_path / "tls.key"), "-in", str(tmp_path / "d"), "-sigfile", str(tmp_path / "s"), check=False).stdout
            assert "Verified Successfully" in out
    finally:
        keys.close()


def test_nothing_but_what_tls_signs_is_signed(tmp_path, pair):
    certificate, key, fingerprint = pair
    keys = Keys(tmp_path, certificate, key)
    try:
        peer = keys.peer("imapd")
        for wrong in ((b"\1" * 32, b"d" * 32), (fingerprint, b"d" * 31), (fingerprint, b""), (fingerprint, b"d" * 32, 0), (fingerprint, b"d" * 32, 3), (fingerprint, b"d" * 32, 9),
                      (fingerprint, b"d" * 32, ECDSA, 0), (fingerprint, b"d" * 32, ECDSA, 9), (fingerprint, b"d" * 512)):
            code, signature = ask(peer, *wrong)
            assert code < 0 and signature == b"", wrong
        assert ask(peer, fingerprint, b"d" * 32)[0] == 0
        send(peer, SIGN, fingerprint[:31], ECDSA, SHA256, b"d" * 32)  # no fingerprint
        assert peer.recv(100) == b""
        peer = keys.peer("imapd")
        peer.send(b"\0\2junk")
        assert peer.recv(100) == b""
        assert ask(keys.peer("imapd"), fingerprint, b"d" * 32)[0] == 0
    finally:
        keys.close()


def test_it_does_not_start_with_what_does_not_fit(tmp_path, pair):
    certificate, key, _ = pair
    (tmp_path / "o").mkdir()
    other = open(make(str(tmp_path / "o"), "b.test")[1]).read()
    for c, k, words in ((certificate, other, "there:7: tls-key does not belong to tls-certificate; name the key"), (certificate, "", "there:7: tls-key is not a PEM private key"), ("x", key, "there:7: tls-certificate is not a PEM certificate")):
        keys = Keys(tmp_path, c, k)
        assert not keys.ready and words in keys.text, keys.text
        keys.close()


def test_nothing_listens_for_it(suite):
    assert not os.path.exists(os.path.join(suite.root, "run", "keys.sock"))
    pid = suite.daemons()["keys"]
    targets = [os.readlink("/proc/%d/fd/%s" % (pid, n)) for n in os.listdir("/proc/%d/fd" % pid)]
    assert all(re.match(r"socket:|pipe:|anon_inode:|/dev/null|/memfd:", t) for t in targets), targets
    inodes = {t[8:-1] for t in targets if t.startswith("socket:")}
    with open("/proc/net/unix") as f:
        ours = [line.split() for line in f if line.split()[6] in inodes]
    assert ours and all(len(line) == 7 and line[3] == "00000000" for line in ours), "no name, and not listening"
