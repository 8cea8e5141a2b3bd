"""
A plugin (`-p pauses`): the tests themselves get no time for a while, at any read of a client's and behind any command, as the
daemons of the plant `pauses` do. `make check-pauses` runs both.
"""
import random
import socket
import ssl
import subprocess
import time


def pause():
    r = random.random()
    if r < 0.01:
        time.sleep(random.uniform(0, 0.5))
    elif r < 0.1:
        time.sleep(random.uniform(0, 0.03))


def behind(function):
    def paused(*args, **kw):
        try:
            return function(*args, **kw)
        finally:
            pause()
    return paused


def before(function):
    def paused(*args, **kw):
        pause()
        return function(*args, **kw)
    return paused


class PausingSocket(socket.socket):
    recv = before(socket.socket.recv)
    sendall = behind(socket.socket.sendall)


socket.socket = PausingSocket
ssl.SSLSocket.recv = before(ssl.SSLSocket.recv)
subprocess.run = behind(subprocess.run)
