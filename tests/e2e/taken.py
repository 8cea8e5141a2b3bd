"""A taken-over daemon: its sockets in the hands of a test, which may say on them what it likes (needs root)."""
import ctypes
import os
import socket
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_PIDFD_GETFD = 438


def descriptor(pid, fd):
    """A copy of one of its descriptors."""
    pidfd = os.pidfd_open(pid)
    try:
        got = _libc.syscall(_PIDFD_GETFD, pidfd, fd, 0)
        if got < 0:
            raise OSError(ctypes.get_errno(), "pidfd_getfd")
        return got
    finally:
        os.close(pidfd)


def channels(pid):
    """The daemon's connections to other daemons: number in the daemon -> socket. Its master's is 3."""
    out = {}
    for name in os.listdir("/proc/%d/fd" % pid):
        try:
            if not os.readlink("/proc/%d/fd/%s" % (pid, name)).startswith("socket:"):
                continue
        except FileNotFoundError:
            continue
        s = socket.socket(fileno=descriptor(pid, int(name)))
        listens = s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if s.family == socket.AF_UNIX and s.type == socket.SOCK_SEQPACKET and not listens:
            out[int(name)] = s
        else:
            s.close()
    return out


class Raw(bytes):
    """A field as it came."""


def message(number, *fields, id=7):
    """A message of lib/ipc: int is u64, bool and ("u32", n) as they are, str and bytes behind their length."""
    wire = struct.pack(">HI", number, id)
    for f in fields:
        if isinstance(f, Raw):
            wire += f
        elif isinstance(f, bool):
            wire += struct.pack(">B", f)
        elif isinstance(f, tuple):
            wire += struct.pack(">I", f[1] & 0xFFFFFFFF)
        elif isinstance(f, int):
            wire += struct.pack(">Q", f)
        else:
            f = f.encode() if isinstance(f, str) else f
            wire += struct.pack(">I", len(f)) + f
    return wire
