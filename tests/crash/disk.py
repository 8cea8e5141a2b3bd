"""A disk that remembers what was asked of it, and what it would have held had the power gone.

The model of the cut: everything up to the last flush is there; each write behind it is there, or not, or torn at any
sector, by chance. That is what a disk with a volatile cache may do, no more and no less.
"""
import bisect
import mmap
import os
import random
import struct
import subprocess
import time

SECTOR = 512
ENTRY = struct.Struct("<IIQ")
MKFS = {"ext4": ["mkfs.ext4", "-q", "-F", "-J", "size=4"], "xfs": ["mkfs.xfs", "-q", "-f"], "btrfs": ["mkfs.btrfs", "-q", "-f"]}
SIZES = {"ext4": 96 << 20, "xfs": 300 << 20, "btrfs": 160 << 20}


def run(*args):
    r = subprocess.run(args, capture_output=True, text=True)
    if r.returncode != 0:
        raise RuntimeError("%s: exit %d: %s" % (" ".join(args), r.returncode, r.stdout + r.stderr))
    return r.stdout.strip()


def users(place):
    """Who holds something below place: "name (pid)" of each."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        links = ["/proc/%s/%s" % (pid, name) for name in ("cwd", "root", "exe")]
        try:
            links += ["/proc/%s/fd/%s" % (pid, fd) for fd in os.listdir("/proc/%s/fd" % pid)]
            if any(os.path.lexists(link) and os.readlink(link).startswith(place) for link in links):
                with open("/proc/%s/comm" % pid) as f:
                    found.append("%s (%s)" % (f.read().strip(), pid))
        except OSError:
            continue
    return found


def unmount(place, seconds=20, command=("umount",)):
    """What has just been killed may hold it for a moment more, and the kernel has no other word for its going."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return run(*command, place)
        except RuntimeError as e:
            if time.monotonic() > deadline:
                raise RuntimeError("%s; it is used by %s" % (e, ", ".join(users(place)) or "nobody that can be seen")) from None
        time.sleep(0.05)


class RecordedDisk:
    """A new file system of a kind, mounted at place; from here on its disk remembers. All files lie in directory."""

    def __init__(self, recorder, fs, directory, place):
        self.image, self.log, self.place = os.path.join(directory, "begin.img"), os.path.join(directory, "disk.log"), place
        self.going, self.fuse = os.path.join(directory, "going.img"), os.path.join(directory, "fuse")
        os.makedirs(self.fuse)
        os.makedirs(place, exist_ok=True)
        with open(self.image, "wb") as f:
            f.truncate(SIZES[fs])
        run(*MKFS[fs], self.image)
        run("cp", "--sparse=always", self.image, self.going)
        self.process = subprocess.Popen([recorder, self.going, self.log, self.fuse])
        disk = os.path.join(self.fuse, "disk")
        while not os.path.exists(disk):  # FUSE has no other word for being there
            if self.process.poll() is not None:
                raise RuntimeError("the recorder ended: is there /dev/fuse?")
            time.sleep(0.01)
        self.loop = run("losetup", "--direct-io=on", "--show", "-f", disk)
        run("mount", "-t", fs, self.loop, place)
        self.fd = os.open(self.log, os.O_RDONLY)

    def position(self):
        """Bytes in the log: whatever the disk was asked for until now lies before it."""
        return os.fstat(self.fd).st_size

    def close(self):
        unmount(self.place)
        run("losetup", "-d", self.loop)
        os.close(self.fd)
        unmount(self.fuse, command=("fusermount3", "-u"))  # losetup does not wait until the loop device has let go
        self.process.wait(20)
        os.unlink(self.going)


class Record:
    """The log of a disk, read: entries in order, `end` of each being the position behind it."""

    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        self.entries, self.flushes, at = [], [], 0
        while at + ENTRY.size <= len(self.data):
            kind, length, offset = ENTRY.unpack_from(self.data, at)
            at += ENTRY.size
            if kind == ord("F"):
                self.flushes.append(len(self.entries))
            self.entries.append((offset, at, length))
            at += length
        self.ends = [at + length for _, at, length in self.entries]

    def first_after(self, position):
        return bisect.bisect_left(self.ends, position)

    def write(self, image, n, octets=None):
        offset, at, length = self.entries[n]
        os.pwrite(image, self.data[at : at + (length if octets is None else octets)], offset)


class Replay:
    """Makes the disk again as it may have been at one entry after the other, in ascending order."""

    def __init__(self, record, begin, directory, seed):
        self.record, self.rng, self.next = record, random.Random(seed), 0
        self.image, self.cut = os.path.join(directory, "flushed.img"), os.path.join(directory, "cut.img")
        run("cp", "--sparse=always", begin, self.image)
        self.fd = os.open(self.image, os.O_RDWR)

    def at(self, n):
        """The image of a power cut just behind entry n."""
        record, before = self.record, bisect.bisect_right(self.record.flushes, n)
        flushed = record.flushes[before - 1] if before > 0 else -1
        while self.next <= flushed:
            record.write(self.fd, self.next)
            self.next += 1
        run("cp", "--sparse=auto", self.image, self.cut)
        fd = os.open(self.cut, os.O_RDWR)
        for i in range(flushed + 1, n + 1):
            if self.rng.random() < 0.5:
                sectors = record.entries[i][2] // SECTOR
                record.write(fd, i, self.rng.randrange(sectors + 1) * SECTOR if self.rng.random() < 0.5 else None)
        os.close(fd)
        return self.cut
