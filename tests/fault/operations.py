"""Every way by which something gets into a spool, a store or the directory, or out of it, also to another host."""
from operation import LARGE
from operations_care import care_operations
from operations_command import AccountAdd, Directory, Import, Rebuild, StoreCheck
from operations_imap import Append, Copy, Create, Delete, Expunge, Login, Move, Read, Store
from operations_mail import PutOff, Send
from operations_queue import queue_operations
from operations_relay import relay_operations


def all_operations(s):
    return [
        Send(s, "send", ["alice"], {"alice": 1}),
        Send(s, "send, large", ["alice"], {"alice": 1}, size=LARGE),
        Send(s, "send, two accounts and an alias", ["alice", "bob", "both"], {"alice": 1, "bob": 1}),
        Send(s, "send, a new worker", ["alice"], {"alice": 1}, end_workers=True),
        Send(s, "send, a new account", ["dave"], {"dave": 1}, anew=True),
        Send(s, "send, a domain of the directory", ["gus@dir.example"], {"gus@dir.example": 1}),
        Send(s, "LMTP", ["alice", "bob"], {"alice": 1, "bob": 1}, service="lmtp"),
        Send(s, "LMTP, large", ["bob"], {"bob": 1}, size=LARGE, service="lmtp"),
        PutOff(s),
        Append(s),
        Append(s, size=LARGE),
        Copy(s),
        Move(s),
        Expunge(s),
        Store(s),
        Create(s),
        Delete(s),
        Read(s, "FETCH", "FETCH 1 BODY.PEEK[]", b"message "),
        Read(s, "SEARCH", "SEARCH TEXT message", b"SEARCH 1"),
        Read(s, "SELECT", "SELECT INBOX", b"EXISTS"),
        Login(s, "erin"),
        Login(s, "dora", anew=True),
        Login(s, "erin", forgotten=True),
        StoreCheck(s),
        Rebuild(s),
        Directory(s),
        AccountAdd(s),
        Import(s),
        *relay_operations(s),
        *queue_operations(s),
        *care_operations(s),
    ]
