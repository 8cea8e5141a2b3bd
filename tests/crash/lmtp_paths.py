"""Delivery by another MTA: LMTP's answer is the account's own (D2)."""
from account import Account
from mail_paths import MailPath, without_workers
from mailwain import until
from path import SETTLE, hand_in


class LmtpPath(MailPath):
    def act(self):
        return hand_in(self.suite, "lmtp", "LHLO client.test", self.token, self.to[:1])

    def over(self):
        return True


class LmtpFront(LmtpPath):
    name = "lmtp-front"
    restarts = "lmtpd"

    def targets(self):
        without_workers(self.suite)
        return [self.suite.pid("lmtpd")], False

    def act(self):
        self.answer = super().act()
        return self.answer

    def settle(self):
        """What was not answered may still be with the worker, which goes on until it has filed it."""
        if self.answer is not True:
            until(lambda: not self.suite.accounts_processes("deliver"), SETTLE, "a worker without lmtpd does not end")


class LmtpWorker(LmtpPath):
    """What it had is given to the next worker, or the client is told to come again."""

    name = "lmtp-worker"

    def targets(self):
        return [without_workers(self.suite)], True


def lmtp_paths(suite):
    account = Account(suite, "alice")
    return [LmtpFront(suite, account), LmtpWorker(suite, account)]
