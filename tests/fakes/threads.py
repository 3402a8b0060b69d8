"""Threads that are not to be had, as where a system allows no more of them."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class FewThreads(ThreadPoolExecutor):
    """Has none to give for some times, then as many as are wanted. For ``set_default_executor``."""

    def __init__(self, times: float) -> None:
        super().__init__()
        self._times = times

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        if self._times > 0:
            self._times -= 1
            raise RuntimeError("can't start new thread")
        return super().submit(fn, *args, **kwargs)
