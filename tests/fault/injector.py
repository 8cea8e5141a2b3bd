"""The page that inject.c reads: which call of which process fails next, what was hit, and a list of calls."""
import collections
import ctypes
import errno
import mmap
import os
import struct
import subprocess

from places import sources

NAME, TRACE, MODULE = 16, 65536, 24
SHORT = "short"
CALL = struct.Struct("%ds%dsQ%ds" % (NAME, NAME, MODULE))  # inject_call of inject.h


class Place(ctypes.Structure):
    """inject_place of inject.h."""

    _fields_ = [("site", ctypes.c_uint64), ("module", ctypes.c_char * MODULE)]


class Control(ctypes.Structure):
    """inject_control of inject.h."""

    _fields_ = [
        ("armed", ctypes.c_uint32),
        ("tracing", ctypes.c_uint32),
        ("role", ctypes.c_char * NAME),
        ("call", ctypes.c_char * NAME),
        ("error", ctypes.c_uint32),
        ("when", ctypes.c_uint32),
        ("every", ctypes.c_uint32),
        ("seen", ctypes.c_uint32),
        ("hits", ctypes.c_uint32),
        ("place", Place),
        ("ahead", ctypes.c_uint32),
        ("ahead_role", ctypes.c_char * NAME),
        ("traced", ctypes.c_uint32),
        ("calls", ctypes.c_uint64 * (CALL.size // 8 * TRACE)),
    ]


class Injector:
    def __init__(self, path):
        self.path = path
        with open(path, "wb") as f:
            f.truncate(ctypes.sizeof(Control))
        self.file = open(path, "r+b")
        self.page = mmap.mmap(self.file.fileno(), ctypes.sizeof(Control))
        self.control = Control.from_buffer(self.page)

    def arm(self, role, call, error, when, every=False):
        c = self.control
        c.armed = 0
        c.role, c.call = role.encode(), call.encode()
        c.error = 0 if error == SHORT else getattr(errno, error)
        c.when, c.every, c.seen, c.hits, c.place = when, every, 0, 0, Place()
        c.armed = 1

    def go_ahead(self, role, seconds):
        """The machine's clock, for these processes."""
        self.control.ahead_role, self.control.ahead = role.encode(), seconds

    def hit(self):
        return self.control.hits > 0

    def disarm(self):
        """(how often it has struck, where)"""
        self.control.armed = 0
        return self.control.hits, (self.control.place.module.decode(), self.control.place.site)

    def trace(self):
        self.control.traced = 0
        self.control.tracing = 1

    def traced(self):
        """(role, call) -> place -> how often, in the order of their first."""
        c = self.control
        c.tracing = 0
        assert c.traced <= TRACE, "%d calls: the list is too short" % c.traced
        at = Control.calls.offset
        found = collections.defaultdict(collections.Counter)
        for role, call, site, module in CALL.iter_unpack(self.page[at : at + CALL.size * c.traced]):
            role, call, module = (text.split(b"\0")[0].decode() for text in (role, call, module))
            found[role, call][module, site] += 1
        return found


def suite_with_injection(build, scratch, library, control):
    """A build directory in `scratch` whose daemons are those of `build`, with the library before them."""
    for sub in ("bin", "sbin", "libexec", "daemons"):
        os.makedirs(os.path.join(scratch, sub))
    for sub in ("bin", "sbin"):
        for name in os.listdir(os.path.join(build, sub)):
            copy(os.path.join(build, sub, name), os.path.join(scratch, sub, name))
    for name in os.listdir(os.path.join(build, "libexec")):
        path = os.path.join(scratch, "libexec", name)
        if name == "master":
            copy(os.path.join(build, "libexec", name), path)
            continue
        own = os.path.join(scratch, "daemons", name)
        copy(os.path.join(build, "libexec", name), own)
        with open(path, "w") as f:
            f.write("#!/bin/sh\nLD_PRELOAD='%s' INJECT_CONTROL='%s' exec '%s' \"$@\"\n" % (library, control, own))
        os.chmod(path, 0o755)
    return scratch


def copy(source, target):
    subprocess.run(["cp", "-a", source, target], check=True)


def place(build, module, site):
    """What stands at a return address: FILE:LINE of a daemon, the name of a library."""
    path = os.path.join(build, "daemons", module)
    return "%s:%d" % sources(path, [site - 1])[site - 1][:2] if module and os.path.exists(path) else module
