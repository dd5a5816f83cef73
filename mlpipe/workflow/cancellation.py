"""How a Task finds out that nobody waits for it any more."""

from __future__ import annotations

import threading


class Token:
    """Whether the work that this thread does is still wanted; one of an inner execution ends with the outer one."""

    __slots__ = ("is_ended", "outer")

    def __init__(self, outer: Token | None = None) -> None:
        self.is_ended = False
        self.outer = outer

    @property
    def is_cancelled(self) -> bool:
        """Whether this work, or what it is part of, was given up."""
        token: Token | None = self
        while token is not None:
            if token.is_ended:
                return True
            token = token.outer
        return False


class _Current(threading.local):
    token: Token | None = None


_current = _Current()


def current_token() -> Token | None:
    """The token of the work that this thread does; None outside of Tasks."""
    return _current.token


def set_current_token(token: Token | None) -> None:
    """This thread works for `token` from now on."""
    _current.token = token


def cancelled() -> bool:
    """True in a Task whose result nobody will use: its plan has failed or was interrupted, or its time is over.

    A long Task should ask now and then, and return or raise: a thread cannot be ended from outside.
    """
    return _current.token is not None and _current.token.is_cancelled
