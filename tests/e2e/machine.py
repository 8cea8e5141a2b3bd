"""Users of this machine, made for a test by useradd(8), and a file for PAM of its own."""
import contextlib
import os
import shutil
import subprocess

from mailwain import ROOT


@contextlib.contextmanager
def machine_users(names, password_of, service):
    """They and the suite's own file for PAM, under the name `service`, are gone behind it."""
    path = "/etc/pam.d/" + service
    try:
        shutil.copy(os.path.join(ROOT, "packaging", "pam", "mailwain"), path)
        for name in names:
            subprocess.run(["useradd", "--no-create-home", "--shell", "/usr/sbin/nologin", "--comment", "Full Name,Room 1", name], check=True)
            subprocess.run(["chpasswd"], input="%s:%s\n" % (name, password_of(name)), text=True, check=True)
        yield
    finally:
        for name in names:
            subprocess.run(["userdel", name], check=False, capture_output=True)
        if os.path.exists(path):
            os.unlink(path)
