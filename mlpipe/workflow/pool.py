"""The threads of this process that help to execute plans: few, kept, and shared by all executions."""

from __future__ import annotations

import functools
import os
import threading
from collections import deque
from collections.abc import Callable

MAX_THREADS = min(32, (os.cpu_count() or 1) + 4)
"""As many as `concurrent.futures.ThreadPoolExecutor` has by default."""


class _Thread:
    """A thread that sleeps until it is given work; `bell` is a lock that it waits on, which costs less than a queue."""

    def __init__(self, pool: ThreadPool, number: int) -> None:
        self.work: Callable[[], None] | None = None
        self.bell = threading.Lock()
        self.bell.acquire()
        thread = threading.Thread(target=pool.serve, args=(self,), name=f"mlpipe-{number}", daemon=True)
        thread.start()


class ThreadPool:
    """At most `size` daemon threads, started when they are first needed."""

    def __init__(self, size: int = MAX_THREADS) -> None:
        self._size = size
        self._count = 0
        self._idle: list[_Thread] = []
        self._waiting: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()

    def invite(self, work: Callable[[], None], later: Callable[[], None] | None) -> bool:
        """Let a thread do `work`, which must not raise, at once.

        False where all are busy: then the next one that has nothing else to do does what `later` says.
        """
        with self._lock:
            if self._idle:
                thread = self._idle.pop()
            elif self._count < self._size:
                self._count += 1
                thread = _Thread(self, self._count)
            else:
                if later:
                    self._waiting.append(later)
                return False
        thread.work = work
        thread.bell.release()
        return True

    def serve(self, thread: _Thread) -> None:
        """What each thread does for as long as the process lives."""
        while True:
            thread.bell.acquire()
            work, thread.work = thread.work, None
            while work is not None:
                work()
                with self._lock:
                    work = self._waiting.popleft() if self._waiting else None
                    if work is None:
                        self._idle.append(thread)


@functools.lru_cache(maxsize=1)
def _pool_of(_process: int) -> ThreadPool:
    return ThreadPool()


def shared_pool() -> ThreadPool:
    """The pool of this process; a process that was forked has one of its own, since threads are not inherited."""
    return _pool_of(os.getpid())
