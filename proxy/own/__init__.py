"""What does the gate itself tell its callers?

Routes that Ollama never hears of: ``key`` is what holds for the caller's key, ``usage`` what its calls came to, and
``doctor`` shows how the answers of a model come through whatever stands in front. Each tells of that one key and of
nobody else. ``answers`` stands before the backend and takes their calls, and ``bounded`` keeps whoever asks all the
time from costing more than one question at a time.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from proxy.relay import Answer
from proxy.vocabulary import Ask, Caller

Own = Callable[[Caller, Mapping[str, str]], Awaitable[bytes]]
"""The JSON that one of the routes tells this caller, by the parameters of the query. Raises GateError."""

Flowing = Callable[[Caller, Ask], AbstractAsyncContextManager[Answer]]
"""The answer of one of the routes that come piece by piece. Raises GateError."""
