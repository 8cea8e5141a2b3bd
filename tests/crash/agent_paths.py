"""Into the file of an alias of the machine: agent, and the process of its that writes."""
import os

from account import text_of
from mailwain import until
from path import SETTLE, Broken, Path, send

DOMAIN = "sys.example"


def agent_conf(place):
    """The settings; the aliases and the file lie at place."""
    os.chmod(place, 0o777)
    with open(os.path.join(place, "aliases"), "w") as f:
        f.write("filed: %s/filed\n" % place)
    return ["domain %s { accounts system }" % DOMAIN, "aliases-allow files", "aliases-user nobody", "aliases %s/aliases" % place]


class Agent(Path):
    name = "agent-file"
    restarts = "agent"

    def targets(self):
        return [self.suite.pid("agent")], False

    def act(self):
        return send(self.suite, self.token, ["filed@" + DOMAIN])

    def over(self):
        return not self.suite.spooled()

    def settle(self):
        """What was put off is tried at once."""

        def is_empty():
            self.suite.mw("queue", "flush", "--all", check=False)
            return self.over()
        until(is_empty, SETTLE, "the queue is not empty")
        if self.suite.set_aside():
            raise Broken("set aside: %s" % self.suite.set_aside())

    def judge(self, outcome, hit):
        """Whole at least once; part of it may stand before, of a process that died in its middle."""
        with open(os.path.join(self.suite.place, "filed")) as f:
            count = f.read().count(text_of(self.token).replace("\r\n", "\n"))
        if (count == 0 and outcome is True) or count > (2 if hit else 1):
            raise Broken("it is in the file %d times" % count)
        self.twice += count == 2


class AgentChild(Agent):
    name = "agent-file-child"
    restarts = None

    def targets(self):
        return [self.suite.pid("agent")], True


def agent_paths(suite):
    return [Agent(suite), AgentChild(suite)]
