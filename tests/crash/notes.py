"""What must be there, given the notes of load.py: held against what order (or a whole suite) says is there.

At a cut every note whose end is not behind it counts. A note that has begun and not ended may have been done or
not, but as a whole. Each account's reader does one thing at a time, so at most one of its notes is open.
"""
import collections
import json

from load import DOMAIN, WRITER, elsewhere, hash_of

IN_SPOOL = "taken, and in the spool"
TOLD = "told:"  # before the key of what a notification is about
CHANGES = ("state", "seen", "append", "store", "copy", "move", "expunge", "create", "validity", "rename", "delete-box")
OF_OTHERS = ("taken", "broken")  # no requests
OF_QUEUE = ("hold", "release", "delete")


class Box:
    """A mailbox as it must be. wild: keys whose UID was never told. top: every UID below it has been given."""

    def __init__(self, validity=None, top=1, uids=(), wild=()):
        self.validity, self.top, self.uids, self.wild = validity, top, dict(uids), list(wild)

    def copy(self):
        return Box(self.validity, self.top, self.uids, self.wild)


def changed(boxes, note):
    """The mailboxes of an account after what the note says, all of it. Boxes that change are new ones."""
    boxes, op = dict(boxes), note["op"]

    def mine(name):
        boxes[name] = boxes.get(name, Box()).copy()
        return boxes[name]

    if op == "state":
        return {name: Box(b["validity"], b["top"], {int(u): tuple(v) for u, v in b["uids"].items()}) for name, b in note["boxes"].items()}
    if op == "seen":
        box = mine("INBOX")
        box.uids.update({int(u): tuple(v) for u, v in note["uids"].items()})
        box.top = max([box.top] + [int(u) + 1 for u in note["uids"]])
    elif op == "append":
        box = mine(note["box"])
        if "uid" in note:
            box.uids[note["uid"]] = (note["key"], note["flags"])
            box.top = max(box.top, note["uid"] + 1)
        else:
            box.wild.append((note["key"], note["flags"]))
    elif op == "store":
        box = mine(note["box"])
        for u, flags in note["flags"].items():
            box.uids[int(u)] = (box.uids[int(u)][0], flags)
    elif op in ("copy", "move"):
        source, to, pairs = mine(note["box"]), mine(note["to"]), note.get("pairs")
        for u in note["uids"]:
            if pairs is None:
                to.wild.append(source.uids[u])
            elif str(u) in pairs or u in pairs:
                new = pairs[str(u)] if str(u) in pairs else pairs[u]
                to.uids[new] = source.uids[u]
                to.top = max(to.top, new + 1)
            if op == "move":
                del source.uids[u]
    elif op == "expunge":
        box = mine(note["box"])
        for u in note["uids"]:
            del box.uids[u]
    elif op == "create":
        boxes[note["box"]] = Box()
    elif op == "validity":
        mine(note["box"]).validity = note["validity"]
    elif op == "rename":
        boxes[note["to"]] = boxes.pop(note["box"])
    elif op == "delete-box":
        del boxes[note["box"]]
    return boxes


class Found:
    """What is there, from the lines of order.c or wake.py."""

    def __init__(self, text):
        self.odd, self.spool, self.accounts, self.aliases, self.modseq = [], [], {}, set(), {}
        self.drop = []
        self.boxes, stores = {}, collections.defaultdict(dict)
        for line in text.splitlines():
            word, _, rest = line.partition(" ")
            if word == "odd":
                self.odd.append(rest)
            elif word == "spool":
                f = rest.split(" ")
                self.spool.append(dict(id=f[0], held=f[1] == "held", key=f[2], hash=f[3], to=f[4:]))
            elif word == "drop":
                f = rest.split(" ")
                self.drop.append(dict(key=f[0], hash=f[1], to=f[2:]))
            elif word == "account":
                address, number = rest.split(" ")
                self.accounts[number] = address
            elif word == "alias":
                self.aliases.add(rest)
            elif word == "store":
                number, how, modseq = rest.split(" ")
                self.modseq[number] = int(modseq)
                if how != "good":
                    self.odd.append("the index of account %s was %s" % (number, how))
            elif word == "mailbox":
                number, validity, uidnext, name = rest.split(" ", 3)
                box = stores[number][name] = dict(validity=int(validity), uidnext=int(uidnext), uids={})
            elif word == "message":
                number, uid, flags, key, digest = rest.split(" ")
                box["uids"][int(uid)] = (key, int(flags), digest)
            elif line:
                self.odd.append("a line that nobody expects: " + line)
        names = {number: address.split("@")[0] for number, address in self.accounts.items()}
        self.boxes.update({names[number]: boxes for number, boxes in stores.items() if number in names})
        self.modseq = {names[number]: modseq for number, modseq in self.modseq.items() if number in names}


class Ledger:
    """
    Goes along the notes, cut by cut, and holds what is found against them. orders_syncs: with the sync of a file everything is durable
    that was done to any other's name and mode before: so it is on ext4 and xfs.
    """

    def __init__(self, notes, names, orders_syncs=False):
        self.names, self.orders_syncs = names, orders_syncs
        self.begun = collections.deque(sorted(notes, key=lambda n: n["begin"]))
        self.ending = collections.deque(sorted((n for n in notes if n["end"] is not None), key=lambda n: n["end"]))
        self.open = {}  # id(note) -> note
        self.boxes = {name: None for name in names}  # None: the reader has not looked yet
        self.seen = collections.defaultdict(set)  # account -> keys of mail that its reader has seen
        self.modseq = collections.Counter()  # account -> what its last MODSEQ is at least
        self.mail, self.acked = {}, {}  # key -> note
        self.ids, self.held, self.deleted = {}, {}, set()
        self.there = set()  # (kind, name) of accounts and aliases that come and go
        self.taken = collections.defaultdict(list)  # (key, address) -> what the host elsewhere has taken
        self.gone, self.synced = {}, -1  # id -> where queue was done with it; where the last mail began that was acknowledged, or the rig waited for the removals' sync
        self.broken = []  # (begin, end) of each death of everything, or of one who has to do with it
        self.twice = collections.Counter()
        self.faults = []

    def advance(self, cut):
        while self.begun and self.begun[0]["begin"] <= cut:
            note = self.begun.popleft()
            if note["op"] == "broken":
                self.broken.append((note["begin"], note["end"]))
            elif note["op"] == "taken":
                self.take(note)
            if note["op"] in OF_OTHERS:
                continue
            self.open[id(note)] = note
            if note["op"] == "mail":
                self.mail[note["key"]] = note
        while self.ending and self.ending[0]["end"] <= cut:
            note = self.ending.popleft()
            if note["op"] in OF_OTHERS:
                continue
            del self.open[id(note)]
            self.ended(note)

    def ended(self, note):
        op = note["op"]
        if op in CHANGES:
            self.change(note)
        elif op == "mail":
            self.acked[note["key"]] = note
            self.ids[note["id"]] = note["key"]
            if not note["key"].startswith("l"):  # of LMTP nothing is in the spool
                self.synced = max(self.synced, note["begin"])
        elif op == "gone":
            self.gone[note["id"]] = note["end"]
        elif op == "synced":
            self.synced = note["end"] + 1  # nothing was written since it was done with: that counts as before
        elif op in ("hold", "release"):
            self.held[self.ids[note["id"]]] = op == "hold"
        elif op == "delete":
            self.deleted.add(self.ids[note["id"]])
        elif op == "add":
            self.there.add((note["kind"], note["name"]))
        elif op == "remove":
            self.there.discard((note["kind"], note["name"]))
        elif op == "modseq":
            self.see_modseq(note["account"], note["modseq"])
        elif op == "fault":
            self.faults.append(note["text"])

    def change(self, note):
        name = note["account"]
        if note["op"] == "state":
            # Whatever was left open by this reader has been seen to be done, or not.
            for other in list(self.open.values()):
                if other.get("account") == name and other["begin"] < note["begin"]:
                    del self.open[id(other)]
            self.seen[name].update(v[0] for b in note["boxes"].values() for v in b["uids"].values())
        if note["op"] == "seen":
            self.seen[name].update(v[0] for v in note["uids"].values())
        self.modseq[name] += self.gives_modseq(note)
        self.boxes[name] = changed(self.boxes[name] or {}, note)

    def see_modseq(self, name, modseq):
        if modseq < self.modseq[name]:
            self.faults.append("account %s: the last MODSEQ was %d, and %d at least had been given" % (name, modseq, self.modseq[name]))
        self.modseq[name] = max(self.modseq[name], modseq)

    def gives_modseq(self, note):
        if note["op"] == "store":  # of flags that are as they were nothing changes
            return any(self.boxes[note["account"]][note["box"]].uids[int(u)][1] != flags for u, flags in note["flags"].items())
        return note["op"] not in ("state", "seen", "validity")

    # ---- holding it against what is there ----

    def problems(self, found):
        # What a client saw is reported once.
        out, self.faults = self.faults + found.odd, []
        waiting = collections.defaultdict(set)
        for entry in found.spool:
            out += self.check_spooled(entry)
            waiting[entry["key"]].update(entry["to"])
        for name in self.names:
            out += self.check_account(name, found, waiting)
        return out + self.check_waiting(found) + self.check_directory(found) + self.check_far(found, waiting)

    def check_spooled(self, entry):
        note = self.mail.get(entry["key"].removeprefix(TOLD))
        if entry["key"].startswith(TOLD) and note is not None:
            return [] if set(entry["to"]) <= {WRITER} else ["%s tells somebody else" % entry]
        if note is None:
            return ["%s is in the spool, and nobody has sent it" % entry]
        if entry["hash"] != hash_of(entry["key"]):
            return ["%s in the spool was changed" % entry["key"]]
        return ["%s waits for somebody it is not for" % entry] if set(entry["to"]) - set(note["to"]) else []

    def check_waiting(self, found):
        """Mail for another host, held, released and deleted by the administrator."""
        out, there = [], {e["key"]: e for e in found.spool}
        unsure = {self.ids[n["id"]] for n in self.open.values() if n["op"] in OF_QUEUE}
        for key in self.acked:
            if not key.startswith("w") or key in unsure:
                continue
            if key in self.deleted:
                out += ["%s was deleted and is in the queue" % key] if key in there else []
            elif key not in there:
                out.append("%s was acknowledged and is not in the queue" % key)
            elif key in self.held and there[key]["held"] != self.held[key]:
                out.append("%s: held is %s, must be %s" % (key, there[key]["held"], self.held[key]))
        return out

    # ---- mail to other hosts ----

    def take(self, note):
        for address in note["to"]:
            before = [t for t in self.taken[note["key"], address] if t["end"] is not None]
            if before:
                self.again(note, address, before[-1])
            self.taken[note["key"], address].append(note)

    def again(self, note, address, before):
        """
        Taken, answered, and now taken once more. A letter that sendmail has put into the drop as well has another id; the same
        message comes twice only when somebody died between the first 250 and its record.
        """
        self.twice["letters" if note["qid"] != before["qid"] else "relayed"] += 1
        if note["qid"] != before["qid"] and note["key"].startswith("d"):
            between = self.deaths(self.mail[note["key"]]["begin"], note["began"])
        else:
            between = self.deaths(self.handed_over(before), min(note["began"], self.recorded_by(before)))
        if not between:
            self.faults.append("%s (%s) was taken for %s at %s, answered with 250, and taken again (%s) at %s: nobody died between" % (
                note["key"], before["qid"], address, before["end"], note["qid"], note["begin"]))

    def deaths(self, first, last):
        return [death for death in self.broken if death[0] <= last and (death[1] is None or death[1] >= first)]

    def handed_over(self, take):
        """From when relay may have been at it."""
        return take["began"]

    def recorded_by(self, take):
        """Until when queue may not have written down what became of it."""
        return self.gone.get(take["qid"], float("inf"))

    def recorded_behind(self, take, address):
        """Why what queue has written down of it was durable before the cut: what was seen behind the record. None: it may not have been."""
        gone = self.gone.get(take["qid"], float("inf"))
        if self.orders_syncs and gone < self.synced:
            return "done with at %d, a mail that began at %d was synced" % (gone, self.synced)
        # Of a letter from this machine auth is asked for each recipient, and who it answers for later goes in a transaction of his own: no second try.
        apart = take["key"].startswith("d")
        for (key, other), takes in self.taken.items():
            for t in takes if key == take["key"] and other != address and not apart else []:
                # Its others are tried again behind the record, or because queue has died and found none.
                if t["qid"] == take["qid"] and address not in t["to"] and t["began"] > take["end"] and not self.deaths(take["begin"], t["began"]):
                    return "at %d, %.3f s later, others were tried again" % (t["began"], t["began_s"] - take["end_s"])
        return None

    def check_again(self, entry):
        """A message of the spool, whom the host elsewhere has answered for already."""
        out = []
        for address in entry["to"]:
            takes = [t for t in self.taken[entry["key"], address] if t["end"] is not None]
            self.twice[IN_SPOOL] += len(takes) > 0
            seen = [(t, why) for t in takes if t["qid"] == entry["id"] and (why := self.recorded_behind(t, address))]
            if seen:
                out.append("%s for %s was taken at %d and written down (%s), and is in the spool" % (entry["key"], address, seen[0][0]["end"], seen[0][1]))
        return out

    def check_letter(self, entry):
        note = self.mail.get(entry["key"])
        if note is None or entry["hash"] != hash_of(entry["key"]) or entry["to"] != note["to"]:
            return ["in the drop lies %s, which nobody has sent as it is" % entry]
        return []

    def check_far(self, found, waiting):
        out = [p for entry in found.spool for p in self.check_again(entry)] + [p for entry in found.drop for p in self.check_letter(entry)]
        told = {e["key"] for e in found.spool if e["key"].startswith(TOLD)}
        box = collections.Counter(key for key, _, _ in found.boxes.get(WRITER.split("@")[0], {}).get("INBOX", {"uids": {}})["uids"].values())
        told = {key.removeprefix(TOLD) for key in told | {key for key in box if key.startswith(TOLD)}}
        dropped = {entry["key"]: entry["to"] for entry in found.drop}
        for key, note in self.acked.items():
            if not key.startswith(("r", "d")):
                continue
            for address in note["to"]:
                waits = address in waiting[key] or address in dropped.get(key, ())
                there = box[key] if address == WRITER else len(self.taken[key, address]) if address != elsewhere.REFUSED else key in told
                if not waits and not there:
                    out.append("%s for %s was acknowledged and is lost" % (key, address))
        for key, count in box.items():
            if count > 1 and key.startswith("r"):
                out.append("%s is in %s %d times" % (key, WRITER, count))
            self.twice["of the writer's"] += count - 1
        return out

    def check_directory(self, found):
        there = {("account", name) for name in found.accounts.values()} | {("alias", name) for name in found.aliases}
        there = {pair for pair in there if pair[1].startswith("x")}
        unsure = {(n["kind"], n["name"]) for n in self.open.values() if n["op"] in ("add", "remove")}
        return ["%s %s is %s" % (*pair, "gone" if pair in self.there else "there") for pair in (there ^ self.there) - unsure]

    def candidates(self, name):
        boxes = self.boxes[name]
        yield boxes
        for note in self.open.values():
            if note["op"] in CHANGES and note["op"] not in ("state", "seen", "validity") and note["account"] == name:
                yield changed(boxes, note)

    def check_account(self, name, found, waiting):
        there, best, delivered = found.boxes.get(name, {}), None, {}
        if self.boxes[name] is not None:
            for boxes in self.candidates(name):
                arrived = set()
                problems = ["account %s: %s" % (name, p) for p in self.compare(name, boxes, there, arrived)]
                if best is None or len(problems) < len(best):
                    best, delivered = problems, arrived
            modseq = found.modseq.get(name)
            if modseq is not None and modseq < self.modseq[name]:
                best.append("account %s: the last MODSEQ is %d, and %d at least were given" % (name, modseq, self.modseq[name]))
        else:
            delivered = {m[0] for m in there.get("INBOX", {"uids": {}})["uids"].values()}
        address, out = "%s@%s" % (name, DOMAIN), best or []
        for key, note in self.acked.items():
            if address in note["to"] and key not in self.seen[name] and key not in delivered and address not in waiting[key]:
                out.append("account %s: %s was acknowledged and is lost" % (name, key))
        return out

    def compare(self, name, boxes, there, arrived):
        for box in sorted(boxes.keys() - there.keys()):
            yield "mailbox %s is gone" % box
        for box in sorted(there.keys() - boxes.keys()):
            yield "mailbox %s should not be there" % box
        for box in sorted(boxes.keys() & there.keys()):
            yield from self.compare_box(name, box, boxes[box], there[box], arrived)

    def compare_box(self, name, box, must, there, arrived):
        if must.validity not in (None, there["validity"]):
            yield "UIDVALIDITY of %s is %d, was %d" % (box, there["validity"], must.validity)
        if there["uidnext"] < must.top:
            yield "UIDNEXT of %s is %d, UIDs below %d were given" % (box, there["uidnext"], must.top)
        wild = list(must.wild)
        for uid, (key, flags, digest) in there["uids"].items():
            if uid in must.uids:
                if must.uids[uid][0] != key or must.uids[uid][1] != flags:
                    yield "UID %d of %s is %s with flags %d, must be %s with %d" % (uid, box, key, flags, *must.uids[uid])
            elif uid < must.top and not (box == "INBOX" and self.is_mail(name, key)):
                yield "UID %d of %s is %s, and was expunged" % (uid, box, key)
            elif (key, flags) in wild:
                wild.remove((key, flags))
            elif box == "INBOX" and self.is_mail(name, key) and key not in arrived:
                arrived.add(key)
            else:
                yield "%s is in %s as UID %d and should not be%s" % (key, box, uid, " again" if key in arrived else "")
            if key != "-" and not key.startswith(TOLD) and digest != hash_of(key):
                yield "%s in %s, UID %d, was changed" % (key, box, uid)
        for uid in sorted(must.uids.keys() - there["uids"].keys()):
            yield "UID %d of %s (%s) is gone" % (uid, box, must.uids[uid][0])
        for key, _ in wild:
            yield "%s is not in %s" % (key, box)

    def is_mail(self, name, key):
        """Sent to the account, and not yet taken over by its reader."""
        note = self.mail.get(key)
        return note is not None and "%s@%s" % (name, DOMAIN) in note["to"] and key not in self.seen[name]


def read(path):
    with open(path) as f:
        return [json.loads(line) for line in f]
