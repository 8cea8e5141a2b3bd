"""What an administrator changes: the directory, which auth keeps, and the queue."""
from mail_paths import Defer
from mailwain import DOMAIN, until
from path import Broken, Path, send


class Directory(Path):
    """An alias is made, or an account goes."""

    restarts = "auth"

    def targets(self):
        return [self.suite.pid("auth")], False

    def command(self, *args, **kw):
        done = self.suite.mw(*args, check=False, **kw)
        return True if done.returncode == 0 else None

    def settle(self):
        pass

    def names(self, kind):
        return {row["address"] for row in self.suite.rows(kind, "list")}

    def judge(self, outcome, hit):
        now = {kind: self.names(kind) for kind in ("alias", "account")}
        may_be = [self.wanted()] + ([self.before] if outcome is not True else [])
        if now not in may_be:
            raise Broken("there is %s, wanted %s" % (now, may_be[0]))

    def prepare(self):
        self.before = {kind: self.names(kind) for kind in ("alias", "account")}

    def wanted(self):
        return dict(self.before, alias=self.before["alias"] | {"%s@%s" % (self.token, DOMAIN)})


class AliasAdd(Directory):
    name = "alias-add-auth"

    def act(self):
        return self.command("alias", "add", "%s@%s" % (self.token, DOMAIN), "x@elsewhere.test")


class AliasRemove(Directory):
    name = "alias-remove-auth"

    def prepare(self):
        self.suite.mw("alias", "add", "%s@%s" % (self.token, DOMAIN), "x@elsewhere.test")
        super().prepare()

    def act(self):
        return self.command("alias", "remove", "%s@%s" % (self.token, DOMAIN))

    def wanted(self):
        return dict(self.before, alias=self.before["alias"] - {"%s@%s" % (self.token, DOMAIN)})


class QueueAdmin(Defer):
    """Something is done with one message that waits for another host."""

    verb = ""
    status = ()  # that the message has when it was done, and before
    first = None

    def prepare(self):
        super().prepare()
        assert send(self.suite, self.token, ["away@example.com"]), "a message was refused"
        self.id = until(lambda: [row["id"] for row in self.suite.rows("queue", "list") if row["status"] == "deferred"], what="it is not put off")[0]
        if self.first:
            self.suite.mw("queue", self.first, self.id)

    def act(self):
        return True if self.suite.mw("queue", self.verb, self.id, check=False).returncode == 0 else None

    def over(self):
        return True

    def judge(self, outcome, hit):
        rows = self.suite.rows("queue", "list")
        if [row["id"] for row in rows] not in ([self.id], []):
            raise Broken("listed %s" % rows)
        now = rows[0]["status"] if rows else "gone"
        if now not in self.status[: 1 if outcome is True else 2] and not (now == "active" and "deferred" in self.status):
            raise Broken("it is %s, wanted %s" % (now, self.status[0]))


class Hold(QueueAdmin):
    name, verb, status = "hold-queue", "hold", ("held", "deferred")


class Release(QueueAdmin):
    name, verb, first, status = "release-queue", "release", "hold", ("deferred", "held")


class Remove(QueueAdmin):
    name, verb, status = "delete-queue", "delete", ("gone", "deferred")


class Requeue(QueueAdmin):
    """It is tried again at once, and put off again."""

    name, verb, status = "requeue-queue", "requeue", ("deferred", "deferred")


class Reroute(QueueAdmin):
    """The way is in the file when the command has said so."""

    name, verb, status = "reroute-queue", "reroute", ("deferred", "deferred")

    def act(self):
        return True if self.suite.mw("queue", "reroute", self.id, "--to", "127.0.0.1:9", check=False).returncode == 0 else None

    def judge(self, outcome, hit):
        super().judge(outcome, hit)
        ways = [row["way"] for row in self.suite.rows("queue", "show", self.id)]
        if ways != ["host 127.0.0.1:9"] and (outcome is True or ways != [""]):
            raise Broken("it goes %s" % ways)


class Pause(Path):
    """A destination is paused, and the others stay as they were."""

    name, restarts = "pause-queue", "queue"

    def targets(self):
        return [self.suite.pid("queue")], False

    def paused(self):
        return {row["destination"] for row in self.suite.rows("queue", "stats") if row["state"] == "paused"}

    def prepare(self):
        for name in self.paused():
            self.suite.mw("queue", "resume", name)
        self.suite.mw("queue", "pause", "first.test")

    def act(self):
        return True if self.suite.mw("queue", "pause", "second.test", check=False).returncode == 0 else None

    def settle(self):
        if self.suite.set_aside():
            raise Broken("set aside: %s" % self.suite.set_aside())

    def judge(self, outcome, hit):
        now = self.paused()
        if now != {"first.test", "second.test"} and (outcome is True or now != {"first.test"}):
            raise Broken("paused: %s" % now)


def admin_paths(suite):
    return [kind(suite) for kind in (AliasAdd, AliasRemove, Hold, Release, Remove, Requeue, Reroute, Pause)]
