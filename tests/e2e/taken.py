"""A taken-over daemon: its sockets in the hands of a test, which may say on them what it likes (needs root)."""
import ctypes
import errno
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
            copy = descriptor(pid, int(name))
        except OSError as e:
            if e.errno in (errno.ENOENT, errno.EBADF):
                continue  # closed meanwhile
            raise
        try:
            s = socket.socket(fileno=copy)
        except OSError:  # another one has its number, which is no socket
            os.close(copy)
            continue
        listens = s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if s.family == socket.AF_UNIX and s.type == socket.SOCK_SEQPACKET and not listens:
            out[int(name)] = s
        else:
            s.close()
    return out


def ends():
    """Of every pair of Unix sockets: inode -> inode of the other end (sock_diag(7))."""
    out, at_most = {}, 0xFFFFFFFF
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 4) as s:
        s.sendall(struct.pack("=IHHIIBBHIIIII", 40, 20, 0x301, 1, 0, socket.AF_UNIX, 0, 0, at_most, 0, 4, at_most, at_most))
        while True:
            data = s.recv(1 << 20)
            while data:
                length, kind = struct.unpack("=IH", data[:6])
                assert kind != 2, "sock_diag: an error"
                if kind == 3:
                    return out
                inode, attributes = struct.unpack("=I", data[20:24])[0], data[32:length]
                while len(attributes) >= 4:
                    size, name = struct.unpack("=HH", attributes[:4])
                    if name == 2:
                        out[inode] = struct.unpack("=I", attributes[4:8])[0]
                    attributes = attributes[(size + 3) & ~3 :]
                data = data[(length + 3) & ~3 :]


def channel_to(pid, other):
    """The daemon's connection to another one; None when there is none now."""
    pairs, theirs = ends(), channels(other)
    inodes = {os.fstat(s.fileno()).st_ino for s in theirs.values()}
    found = None
    for s in channels(pid).values():
        if found is None and pairs.get(os.fstat(s.fileno()).st_ino) in inodes:
            found = s
        else:
            s.close()
    for s in theirs.values():
        s.close()
    return found


def master_to(master, pid):
    """Master's end of the channel that the daemon was born with."""
    pairs, born = ends(), socket.socket(fileno=descriptor(pid, 3))
    inode, all_ends = os.fstat(born.fileno()).st_ino, channels(master)
    born.close()
    number = next(n for n, s in all_ends.items() if pairs.get(os.fstat(s.fileno()).st_ino) == inode)
    found = all_ends.pop(number)
    for s in all_ends.values():
        s.close()
    return found


def give_channel(suite, name, service, role, serving):
    """The daemon gets a connection, as if master had made it: to this service, or as the service from this client. The other end is ours."""
    pids, (ours, theirs) = suite.daemons(), socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with master_to(pids["master"], pids[name]) as master, theirs:
        socket.send_fds(master, [message(4, service, role, serving, ("u32", os.getuid()))], [theirs.fileno()])
    ours.settimeout(20)
    return ours


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
