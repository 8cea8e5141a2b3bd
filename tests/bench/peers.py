"""Postfix and Dovecot from Debian's packages, in a scratch directory, with their normal durability.

Postfix takes mail on a free port of 127.0.0.1 and hands it to Dovecot over LMTP. The accounts u0 … have a
Maildir each; the account `imap` is an sdbox, Dovecot's own and faster format, for the IMAP part.
"""
import os
import pwd
import subprocess
import tempfile
import time

import config
import imapclient
import procs

# Of each Postfix; what it does with mail for the accounts comes behind it.
POSTFIX_MAIN = """\
compatibility_level = 3.6
queue_directory = {dir}/queue
data_directory = {dir}/data
maillog_file = {dir}/mail.log
maillog_file_prefixes = {dir}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
myhostname = mail.bench.test
mydestination =
mynetworks = 127.0.0.0/8
alias_maps =
alias_database =
"""

TO_DOVECOT = """\
virtual_mailbox_domains = {domain}
virtual_mailbox_maps = hash:{dir}/etc/accounts
virtual_transport = lmtp:unix:{dir}/dovecot/run/lmtp
smtpd_tls_cert_file = {dir}/dovecot/cert.pem
smtpd_tls_key_file = {dir}/dovecot/key.pem
smtpd_sasl_type = dovecot
smtpd_sasl_path = {dir}/dovecot/run/postfix-auth
"""

# Debian's services without their chroot, the pickers of local mail and the pipes to others.
POSTFIX_MASTER = """\
127.0.0.1:{smtp} inet n - n - - smtpd
127.0.0.1:{smtps} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
  -o smtpd_sasl_auth_enable=yes
  -o smtpd_client_restrictions=permit_sasl_authenticated,reject
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

DOVECOT = """\
base_dir = {dir}/dovecot/run
state_dir = {dir}/dovecot/state
instance_name = mailwain-bench
log_path = {dir}/dovecot/log
protocols = imap lmtp
listen = 127.0.0.1
disable_plaintext_auth = no
ssl = yes
ssl_cert = <{dir}/dovecot/cert.pem
ssl_key = <{dir}/dovecot/key.pem
first_valid_uid = 1
mail_max_userip_connections = 100
mail_fsync = optimized
namespace inbox {{
  inbox = yes
}}
passdb {{
  driver = passwd-file
  args = {dir}/dovecot/users
}}
userdb {{
  driver = passwd-file
  args = {dir}/dovecot/users
}}
# Not the default but Dovecot's advice for busy servers, and the smaller figure: one login process for many
# connections instead of one for each TLS client.
service imap-login {{
  service_count = 0
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
}}
service auth {{
  unix_listener postfix-auth {{
    mode = 0666
  }}
}}
service lmtp {{
  unix_listener lmtp {{
    mode = 0666
  }}
}}
"""


def write(path, text):
    with open(path, "w") as f:
        f.write(text)


class Peers:
    name = "Postfix + Dovecot"
    key = "peers"

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="mailwain-bench-peers-", dir=config.DIRECTORY)
        os.chmod(self.dir, 0o755)
        self.smtp, self.smtps, self.imap, self.imaps = config.free_ports(4)
        self.postfix = self.dovecot = None

    def start(self):
        self.start_dovecot()
        self.start_postfix(TO_DOVECOT.format(dir=self.dir, domain=config.DOMAIN),
                           "".join("%s@%s %s\n" % (n, config.DOMAIN, n) for n in config.ACCOUNTS + ["imap"]))
        return self

    def start_dovecot(self):
        base = os.path.join(self.dir, "dovecot")
        for name in ("", "run", "state", "home"):
            os.mkdir(os.path.join(base, name))
            os.chmod(os.path.join(base, name), 0o755)
        owner = pwd.getpwnam("mail")
        os.chown(os.path.join(base, "home"), owner.pw_uid, owner.pw_gid)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "9", "-subj", "/CN=mail.bench.test", "-keyout", base + "/key.pem", "-out", base + "/cert.pem"],
                       check=True, capture_output=True, timeout=60)
        lines = []
        for name in config.ACCOUNTS + ["imap"]:
            kind = "sdbox:~/sdbox" if name == "imap" else "maildir:~/Maildir"
            lines.append("%s@%s:{PLAIN}%s:%d:%d::%s/home/%s::userdb_mail=%s\n" % (
                name, config.DOMAIN, config.PASSWORD, owner.pw_uid, owner.pw_gid, base, name, kind))
        write(base + "/users", "".join(lines))
        write(base + "/dovecot.conf", DOVECOT.format(dir=self.dir, imap=self.imap, imaps=self.imaps))
        self.dovecot = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", base + "/dovecot.conf"],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        imapclient.wait_port(self.imap, 20, self.dovecot)

    def start_postfix(self, settings, accounts):
        """settings: behind those of POSTFIX_MAIN; accounts: the lines of the table etc/accounts."""
        etc = os.path.join(self.dir, "etc")
        owner = pwd.getpwnam("postfix")
        for name in (etc, self.dir + "/queue", self.dir + "/data"):
            os.mkdir(name)
            os.chmod(name, 0o755)
        os.chown(self.dir + "/data", owner.pw_uid, owner.pw_gid)
        write(etc + "/main.cf", POSTFIX_MAIN.format(dir=self.dir) + settings)
        write(etc + "/master.cf", POSTFIX_MASTER.format(smtp=self.smtp, smtps=self.smtps))
        write(etc + "/accounts", accounts)
        subprocess.run(["postmap", "-c", etc, "hash:" + etc + "/accounts"], check=True, capture_output=True, timeout=60)
        subprocess.run(["postfix", "-c", etc, "start"], check=True, capture_output=True, timeout=60)
        deadline = time.monotonic() + 20
        while self.postfix is None:
            try:
                with open(self.dir + "/queue/pid/master.pid") as f:
                    self.postfix = int(f.read())
            except (OSError, ValueError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        imapclient.wait_port(self.smtp, 20)

    def roots(self):
        return [p for p in (self.postfix, self.dovecot and self.dovecot.pid) if p]

    def address(self, account):
        return "%s@%s" % (account, config.DOMAIN)

    def log(self):
        out = ""
        for name in ("/mail.log", "/dovecot/log"):
            if os.path.exists(self.dir + name):
                with open(self.dir + name, errors="replace") as f:
                    out += f.read()
        return out

    def close(self):
        if self.postfix:
            procs.end(self.postfix)
        if self.dovecot:
            procs.end(self.dovecot.pid)
            self.dovecot.wait(timeout=10)
        if not os.environ.get("BENCH_KEEP"):
            procs.remove_at_end(self.dir)
