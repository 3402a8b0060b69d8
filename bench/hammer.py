"""Callers that cost as little as Python lets them: for when the servers need the whole machine.

Run as ``python -m bench.hammer PORT CLIENTS CALLS MILLISECONDS``, with the request on stdin. It ends with a line of
JSON: how many calls were answered, and the seconds that they took. A wrong answer ends it with an error.
"""

import json
import select
import socket
import sys
import time

from bench.upstream import WHOLE

PATIENCE_SECONDS = 10.0
_TAIL = WHOLE[-64:]


class WrongAnswer(Exception):
    """Not what was asked for."""


def hammer(port: int, clients: int, calls: int, seconds: float, request: bytes) -> tuple[int, float]:
    """Every client asks again as soon as it is answered, until there were so many calls or the time is over."""
    poll = select.poll()
    sockets: dict[int, socket.socket] = {}
    held: dict[int, bytes] = {}
    try:
        for _ in range(clients):
            made = socket.create_connection(("127.0.0.1", port))
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sockets[made.fileno()] = made
            poll.register(made, select.POLLIN)
        began = time.perf_counter()
        until = began + seconds
        for each in sockets.values():
            each.sendall(request)
        asked, answered = clients, 0
        while answered < asked:
            ready = poll.poll(PATIENCE_SECONDS * 1000)
            if not ready:
                raise WrongAnswer(f"{asked - answered} answers are missing")
            goes_on = time.perf_counter() < until
            for number, _ in ready:
                heard = held.pop(number, b"") + sockets[number].recv(65536)
                if not heard.endswith(_TAIL):
                    if heard[9:12] != b"200":
                        raise WrongAnswer(f"answered {heard[:300]!r}")
                    held[number] = heard
                    continue
                answered += 1
                if goes_on and asked < calls:
                    asked += 1
                    sockets[number].send(request)  # Smaller than any buffer of a socket.
        return answered, time.perf_counter() - began
    finally:
        for each in sockets.values():
            each.close()


if __name__ == "__main__":
    _port, _clients, _calls, _milliseconds = map(int, sys.argv[1:5])
    _answered, _seconds = hammer(_port, _clients, _calls, _milliseconds / 1000, sys.stdin.buffer.read())
    print(json.dumps({"calls": _answered, "seconds": _seconds}))
