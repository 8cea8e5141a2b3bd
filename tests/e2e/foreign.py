"""
Other mail servers as remote hosts: Postfix, Exim and OpenSMTPD from Debian's packages, each on its own loopback address, all on one port.

None of them is installed: install-deps.sh unpacks them below build/others. Postfix runs from there, with users that every machine has; the others run in a
little root directory with the libraries, users and devices that they ask for.
"""
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile

from mailwain import TIMEOUT, until
from tools import OTHERS


def begin(command, output, environment, **how):
    """A session of its own."""
    with open(output, "wb") as out:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, env=environment, **how)


class Foreign:
    """A mail server that takes mail for bob, carol and dan of its domain, and keeps every copy in one place."""

    offers = set()
    tls = True

    def __init__(self, port, certificate, key):
        self.port, self.certificate, self.key = port, certificate, key
        self.dir = tempfile.mkdtemp(prefix="mailwain-foreign-")
        os.chmod(self.dir, 0o755)
        self.process = None

    @property
    def domain(self):
        return self.name + ".test"

    def write(self, name, text, mode=0o644):
        path = os.path.join(self.dir, name.lstrip("/"))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, mode)
        return path

    def make_dir(self, name, uid=0, gid=0, mode=0o755):
        path = os.path.join(self.dir, name.lstrip("/"))
        os.makedirs(path, exist_ok=True)
        os.chown(path, uid, gid)
        os.chmod(path, mode)
        return path

    def wait(self):
        def listens():
            assert self.process is None or self.process.poll() is None, self.log()
            with socket.socket() as s:
                return s.connect_ex((self.address, self.port)) == 0

        until(listens)
        return self

    def log(self):
        out = ""
        for path in self.logs():
            if os.path.exists(path):
                with open(path, errors="replace") as f:
                    out += f.read()
        return out

    def mail(self):
        """[octets of each message that has arrived], with CR LF."""
        found = []
        for top, _, files in os.walk(self.maildir()):
            for name in files if os.path.basename(top) == "new" else ():
                with open(os.path.join(top, name), "rb") as f:
                    found.append(f.read().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        return found

    def close(self):
        self.end()
        shutil.rmtree(self.dir, ignore_errors=True)

    def end(self):
        """With its children: a session of its own, that we have begun."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(TIMEOUT)


# ---- Postfix ----

MASTER = """\
{address}:{port} inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
smtp unix - - n - - smtp
virtual unix - n n - - virtual
error unix - - n - - error
retry unix - - n - - error
postlog unix-dgram n - n - 1 postlogd
"""


class Postfix(Foreign):
    name, address = "postfix", "127.0.0.70"
    offers = {"8BITMIME", "SMTPUTF8", "CHUNKING", "DSN"}
    chunk = " bytes queued as "
    libraries = os.path.join(OTHERS, "usr/lib/postfix")
    programs = os.path.join(libraries, "sbin")
    user, group = "news", "uucp"  # in the place of postfix and postdrop, which an installed one has: any but nobody's, and not each other's

    @classmethod
    def is_there(cls):
        return os.path.exists(os.path.join(cls.programs, "master")) and os.geteuid() == 0

    def make_dirs(self, owner, nobody):
        """What `postfix start` would make: its script asks for an installed one."""
        for name, uid in (("queue", 0), ("queue/pid", 0), ("data", owner.pw_uid), ("mail", nobody.pw_uid)):
            self.make_dir(name, uid)
        for name in ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"):
            self.make_dir("queue/" + name, owner.pw_uid, mode=0o700)
        self.make_dir("queue/maildrop", owner.pw_uid, grp.getgrnam(self.group).gr_gid, 0o730)
        self.make_dir("queue/public", owner.pw_uid, grp.getgrnam(self.group).gr_gid, 0o710)

    def start(self, back):
        owner, nobody = pwd.getpwnam(self.user), pwd.getpwnam("nobody")
        self.make_dirs(owner, nobody)
        users = " ".join("{%s@%s=%s/}" % (u, self.domain, u) for u in ("bob", "carol", "dan")) + " {bücher@%s=u/}" % self.domain
        settings = {"compatibility_level": "3.6", "queue_directory": self.dir + "/queue", "data_directory": self.dir + "/data", "maillog_file": self.dir + "/log", "maillog_file_prefixes": self.dir,
                    "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4", "myhostname": "mx." + self.domain, "mydestination": "", "mynetworks": "127.0.0.255", "alias_maps": "",
                    "virtual_mailbox_domains": self.domain, "virtual_mailbox_base": self.dir + "/mail", "virtual_mailbox_maps": "inline:{ %s }" % users,
                    "virtual_uid_maps": "static:%d" % nobody.pw_uid, "virtual_gid_maps": "static:%d" % nobody.pw_gid, "virtual_minimum_uid": "1", "virtual_mailbox_limit": "0",
                    "smtpd_tls_chain_files": "%s %s" % (self.key, self.certificate), "smtpd_tls_security_level": "encrypt", "smtpd_tls_loglevel": "1", "relayhost": "[127.0.0.1]:%d" % back,
                    "smtputf8_enable": "yes", "mail_owner": self.user, "setgid_group": self.group, "daemon_directory": self.programs, "shlib_directory": self.libraries,
                    "meta_directory": self.dir + "/etc", "import_environment": "MAIL_CONFIG LANG=C LD_LIBRARY_PATH=" + self.libraries}
        self.write("etc/main.cf", "".join("%s = %s\n" % item for item in settings.items()))
        self.write("etc/master.cf", MASTER.format(address=self.address, port=self.port))
        self.process = begin([os.path.join(self.programs, "master"), "-c", self.dir + "/etc"], self.dir + "/output", {"LD_LIBRARY_PATH": self.libraries})
        return self.wait()

    def logs(self):
        return [self.dir + "/output", self.dir + "/log"]

    def maildir(self):
        return self.dir + "/mail"


# ---- those that run in a root directory of their own ----


def may_make_devices():
    """A container may have a root that must not."""
    with tempfile.TemporaryDirectory(prefix="mailwain-foreign-") as scratch:
        path = os.path.join(scratch, "null")
        try:
            os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
            open(path, "w").close()
            return True
        except OSError:
            return False


class Unpacked(Foreign):
    users = {"root": 0, "nobody": 65534, "bob": 64801, "carol": 64802, "dan": 64803}

    @classmethod
    def package(cls, *names):
        return os.path.join(OTHERS, *names)

    @classmethod
    def is_there(cls):
        return os.path.exists(cls.package(cls.program)) and os.geteuid() == 0 and may_make_devices()

    def copy(self, source, name):
        """A program with the libraries that it asks for."""
        target = os.path.join(self.dir, name.lstrip("/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copy(source, target)
        for library in re.findall(r"(?:=> )?(/\S+) \(0x", subprocess.run(["ldd", source], check=True, capture_output=True, text=True).stdout):
            if not os.path.exists(self.dir + library):
                os.makedirs(os.path.dirname(self.dir + library), exist_ok=True)
                shutil.copy(library, self.dir + library)

    def prepare(self):
        self.write("/etc/passwd", "".join("%s:x:%d:%d::/box/%s:/bin/sh\n" % (name, uid, uid, name) for name, uid in self.users.items()))
        self.write("/etc/group", "".join("%s:x:%d:\n" % item for item in self.users.items()))
        self.write("/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")
        self.write("/etc/hosts", "%s mx.%s\n" % (self.address, self.domain))
        self.write("/etc/resolv.conf", "nameserver 127.0.0.255\n")
        for name in ("bob", "carol", "dan"):
            self.make_dir("/box/" + name, self.users[name], self.users[name])
        self.make_dir("/tmp", mode=0o1777)
        self.make_dir("/dev")
        for name, minor in (("null", 3), ("zero", 5), ("urandom", 9)):
            os.mknod(self.dir + "/dev/" + name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
            os.chmod(self.dir + "/dev/" + name, 0o666)
        for name, path in (("cert.pem", self.certificate), ("key.pem", self.key)):
            with open(path) as f:
                self.write("/etc/" + name, f.read(), 0o600)

    def run(self, *command):
        self.process = begin(command, self.dir + "/output", {"PATH": "/bin"}, preexec_fn=lambda: (os.chroot(self.dir), os.chdir("/")))
        return self.wait()

    def maildir(self):
        return self.dir + "/box"


EXIM = """\
primary_hostname = mx.{domain}
spool_directory = /spool
log_file_path = /log/%s
pid_file_path = /spool/exim.pid
local_interfaces = {address}
daemon_smtp_ports = {port}
domainlist local_domains = {domain}
host_lookup =
tls_advertise_hosts = *
tls_certificate = /etc/cert.pem
tls_privatekey = /etc/key.pem
dsn_advertise_hosts = *
message_size_limit = 50M
smtp_accept_queue_per_connection = 0
log_selector = +tls_cipher +smtp_protocol_error
acl_smtp_rcpt = check_rcpt
acl_smtp_mail = check_mail
never_users =
deliver_drop_privilege
begin acl
check_mail:
  deny !encrypted = *
       message = 5.7.0 TLS first
  accept
check_rcpt:
  deny local_parts = nobody
       message = 5.1.1 no such user here
  accept domains = +local_domains
begin routers
here:
  driver = accept
  domains = +local_domains
  transport = mailbox
there:
  driver = manualroute
  route_list = * 127.0.0.1
  self = send
  transport = back
begin transports
mailbox:
  driver = appendfile
  directory = /mail
  maildir_format
  user = Debian-exim
  envelope_to_add
back:
  driver = smtp
  port = {back}
  hosts_try_dane =
"""


class Exim(Unpacked):
    name, address = "exim", "127.0.0.71"
    program = "usr/sbin/exim4"
    offers = {"8BITMIME", "SMTPUTF8", "CHUNKING", "DSN"}
    chunk = " byte chunk, total "
    users = dict(Unpacked.users, **{"Debian-exim": 64804})

    def start(self, back):
        self.prepare()
        self.copy(self.package(self.program), "/usr/sbin/exim4")
        for name in ("/spool", "/log", "/mail"):
            self.make_dir(name, self.users["Debian-exim"], self.users["Debian-exim"])
        for name in ("/etc/cert.pem", "/etc/key.pem"):
            os.chown(self.dir + name, self.users["Debian-exim"], 0)
        self.write("/etc/exim4/exim4.conf", EXIM.format(domain=self.domain, address=self.address, port=self.port, back=back))
        return self.run("/usr/sbin/exim4", "-bdf", "-q1h")

    def maildir(self):
        return self.dir + "/mail"

    def logs(self):
        return [self.dir + "/output"] + [self.dir + "/log/" + name for name in ("main", "reject", "panic")]


OPENSMTPD = """\
smtp max-message-size 50M
table users file:/etc/users
listen on {address} port {port} hostname mx.{domain}
action "here" maildir "/box/bob/mail" user bob virtual <users>
action "back" relay host smtp://127.0.0.1:{back}
match from any for domain "{domain}" action "here"
match from any for any action "back"
"""


class OpenSmtpd(Unpacked):
    """Without TLS: that of Debian 12 ends each handshake with an internal error, openssl s_client's as well."""

    name, address = "opensmtpd", "127.0.0.72"
    program = "usr/sbin/smtpd"
    offers = {"8BITMIME"}  # and DSN, but its notifications do not say what was asked for
    tls = False
    users = dict(Unpacked.users, opensmtpd=64805, opensmtpq=64806)

    def start(self, back):
        self.prepare()
        self.copy(self.package(self.program), "/usr/sbin/smtpd")
        self.copy("/bin/sh", "/bin/sh")
        for name in os.listdir(self.package("usr/libexec/opensmtpd")):
            self.copy(self.package("usr/libexec/opensmtpd", name), "/usr/libexec/opensmtpd/" + name)
        self.make_dir("/var/lib/opensmtpd/empty")
        self.make_dir("/var/spool/smtpd", mode=0o711)
        self.make_dir("/var/run")
        self.write("/etc/mailname", "mx.%s\n" % self.domain)
        self.write("/etc/users", "".join("%s@%s bob\n" % (u, self.domain) for u in ("bob", "carol", "dan")))
        self.write("/etc/smtpd.conf", OPENSMTPD.format(domain=self.domain, address=self.address, port=self.port, back=back))
        return self.run("/usr/sbin/smtpd", "-d", "-f", "/etc/smtpd.conf")

    def logs(self):
        return [self.dir + "/output"]


ALL = (Postfix, Exim, OpenSmtpd)
