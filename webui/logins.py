"""How somebody says who they are, and how often they may be wrong about it. The secrets themselves are `gate.Keys`'."""

import base64
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable

log = logging.getLogger(__name__)


class WrongLogins:
    """Counts wrong tokens and passwords by address, so that nobody guesses on. Keeps a bounded number of addresses."""

    MOST, SECONDS, ADDRESSES = 20, 60.0, 1000

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._when: OrderedDict[str, deque[float]] = OrderedDict()

    def add(self, address: str) -> None:
        times = self._when.setdefault(address, deque(maxlen=self.MOST))
        times.append(self._clock())
        self._when.move_to_end(address)
        if len(times) == self.MOST:
            log.warning("%d wrong logins from %s", self.MOST, address)
        while len(self._when) > self.ADDRESSES:
            self._when.popitem(last=False)

    def are_too_many(self, address: str) -> bool:
        times = self._when.get(address)
        return times is not None and len(times) == self.MOST and self._clock() - times[0] < self.SECONDS


def user_and_password(encoded: str) -> tuple[str, str]:
    """Of HTTP's basic authentication (RFC 7617); ("", "") for what is none."""
    try:
        user, _, password = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except ValueError:
        return "", ""
    return user, password
