"""What happens to a gate: it is killed, stopped, starved, told to end or to read again, and replaced."""

import asyncio
import fcntl
import os
import re
import resource
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from contextlib import ExitStack, suppress

import psutil

from proxy.bootstrap.workshop import Workshop
from tests.fakes.raw_client import RawClient
from tests.security.chaos.load import BROKEN, NO_ANSWER, NO_CONNECTION, TOLD, request
from tests.security.chaos.said import Stream
from tests.security.chaos.scene import KILLED, Found, Scene
from tests.security.chaos.stage import TookTooLong, until
from tests.security.chaos.upstream import TCP_REPAIR

FULL_PIPE = 50_000
"""Bytes, of 65536: each write that does not fit into the last page begins another."""
BUSY = "while True: pass"
STOPPING = {TOLD, BROKEN, NO_CONNECTION, NO_ANSWER, "503 gate_stopping"}


async def killed(scene: Scene, found: Found) -> None:
    """F1"""
    for _ in range(scene.rounds):
        async with scene.window(found, KILLED, at=[scene.a]):
            await asyncio.sleep(scene.dice.random() * 0.5)
            scene.a.kill()
            await scene.a.start()
    found.notes.append(
        "this run is the supervisor: the gate has none of its own, systemd or a container engine restarts it"
    )


async def hung(scene: Scene, found: Found) -> None:
    """F2"""
    async with scene.window(found, at=[scene.a]):
        scene.a.signal(signal.SIGSTOP)
        await asyncio.sleep(min(scene.seconds, 3))
        scene.a.signal(signal.SIGCONT)
    found.notes.append("no watchdog replaces it: /healthz is what a service manager asks")


async def half_open(scene: Scene, found: Found) -> None:
    """F13"""
    async with scene.window(found):
        calls = [await vanish(scene, Stream(f"gone{number}", FOR_LONG)) for number in range(5)]
        began = time.monotonic()
        await until(lambda: all(_left(scene.a.log, call) for call in calls), 10, "a row for each client that vanished")
    found.notes.append(f"all five were found to have left within {time.monotonic() - began:.1f} s")


FOR_LONG = 3000
"""Words: a stream that cannot have come to its own end by the time that one looks."""


def _left(log: bytes, call: bytes) -> bool:
    return any(call in line and b'"client_left"' in line for line in log.splitlines())


async def vanish(scene: Scene, stream: Stream) -> bytes:
    """A client that is gone amid its stream, without a word on the wire; the id of its call."""
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.a.port)
    writer.write(request(scene.a, stream))
    head = await reader.readuntil(b"\r\n\r\n")
    connected: socket.socket = writer.get_extra_info("socket")
    connected.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    writer.transport.abort()
    (call,) = re.findall(rb"(?i)x-request-id: (\S+)", head)
    return bytes(call)


async def descriptors(scene: Scene, found: Found) -> None:
    """F18"""
    async with scene.stage.guest("descriptors", {"door": {"connections_per_address": 1000}}, descriptors=256) as gate:
        with scene.load.over(gate):
            async with scene.window(found, {NO_ANSWER, NO_CONNECTION, *REFUSED}):
                await crowd(gate.port, 300, scene.seconds)
        with scene.load.over(gate):
            async with scene.window(
                found, {NO_ANSWER, NO_CONNECTION, "WRONG: nothing for five seconds", *REFUSED, *OUT_OF_FILES}
            ):
                used = psutil.Process(gate.pid).num_fds()
                resource.prlimit(gate.pid, resource.RLIMIT_NOFILE, (used + 2, 256))  # Below what it counts on.
                await crowd(gate.port, 40, scene.seconds)
                resource.prlimit(gate.pid, resource.RLIMIT_NOFILE, (256, 256))
        lines = len(gate.log.splitlines())
        told = await gate.figures()
        counts = {name: value for name, value in told.items() if "refused_total" in name and value}
        found.notes.append(f"{lines} log lines, {sum(counts.values()):.0f} connections refused or not taken")
        calls = sum(1 for one in scene.load.verdicts if one.gate is gate)
        if lines > calls + 60:
            found.wrong.append(f"{lines} log lines for {calls} calls")


REFUSED = {"503 too_many_connections"}
OUT_OF_FILES = {"503 backend_down", "503 auth_unavailable", "503 storage_failed", TOLD, BROKEN}


async def crowd(port: int, count: int, seconds: float) -> None:
    """So many connections that say nothing, from several addresses."""
    with ExitStack() as stack:
        for number in range(count):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            one.bind((f"127.0.1.{number % 200 + 1}", 0))
            with suppress(BlockingIOError, OSError):
                one.connect(("127.0.0.1", port))
            if number % 20 == 0:
                await asyncio.sleep(0.01)
        await asyncio.sleep(seconds)


async def memory(scene: Scene, found: Found) -> None:
    """F19"""
    size, clients, room = 8 * 2**20, 24, 600 * 2**20
    found.forgiven = "MemoryError"
    async with scene.stage.guest("memory", {"max_body": size}) as gate:
        process = psutil.Process(gate.pid)
        with scene.load.over(gate):
            async with scene.window(found, {"503 backend_down", "502 backend_failed", TOLD, BROKEN}):
                used = process.memory_info()
                resource.prlimit(gate.pid, resource.RLIMIT_AS, (used.vms + room, used.vms + room))
                most = 0
                bodies = [asyncio.create_task(heavy(gate.port, gate.key, size)) for _ in range(clients)]
                while not all(body.done() for body in bodies):
                    most = max(most, process.memory_info().rss)
                    await asyncio.sleep(0.05)
                statuses = sorted({str(await body) for body in bodies})
        found.notes.append(
            f"{clients} bodies of {size >> 20} MiB at once: {used.rss >> 20} MiB before, {most >> 20} at the most; "
            f"answered {', '.join(statuses)}"
        )
        if not gate.is_running:
            found.wrong.append("it was killed")


async def heavy(port: int, key: str, size: int) -> str:
    """A body as large as one may be, which says nothing."""
    body = b'{"model": "llama3.2:1b", "prompt": "' + b"a" * (size - 100) + b'"}'
    head = (
        f"POST /api/generate HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    client = await RawClient.connect("127.0.0.1", port)
    try:
        await client.send(head.encode() + body)
        return str((await client.told()).status)
    except (OSError, EOFError):
        return "nothing"
    finally:
        client.close()


def _busy() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", BUSY])


async def starved(scene: Scene, found: Found) -> None:
    """F20"""
    others = [_busy() for _ in range(2)]
    before = os.sched_getaffinity(scene.a.pid)
    one = {min(before)}
    try:
        async with scene.window(found):
            for pid in (scene.a.pid, *(other.pid for other in others)):
                os.sched_setaffinity(pid, one)
            os.setpriority(os.PRIO_PROCESS, scene.a.pid, 10)
            await scene.hold()
            for other in others:
                other.kill()
            os.sched_setaffinity(scene.a.pid, before)
            with suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, scene.a.pid, 0)
    finally:
        for other in others:
            other.kill()
            other.wait()


async def drained(scene: Scene, found: Found) -> None:
    """F21"""
    for second in (None, signal.SIGTERM, signal.SIGINT):
        async with scene.window(found, STOPPING, at=[scene.a]):
            slow = [asyncio.create_task(scene.load.ask(scene.a, words=400)) for _ in range(3)]  # Longer than patience.
            await asyncio.sleep(0.3)
            began = time.monotonic()
            scene.a.signal(signal.SIGTERM)
            if second is not None:
                await asyncio.sleep(0.2)
                with suppress(ProcessLookupError):
                    scene.a.signal(second)
            status = await scene.a.stop()
            seconds = time.monotonic() - began
            if status != 0:
                found.wrong.append(f"the gate ended with {status}")
            if seconds > (6 if second is None else 3):
                found.wrong.append(f"the gate took {seconds:.1f} s to end")
            if [] != (left := [one.kind for one in await asyncio.gather(*slow) if one.kind not in (TOLD, BROKEN)]):
                found.wrong.append(f"streams beyond patience ended with {left}")
            if journals := scene.a.journals():
                found.wrong.append(f"{len(journals)} journals are left")
            found.notes.append(f"ended in {seconds:.1f} s{'' if second is None else ' when told twice'}")
            await scene.a.start()


async def reloaded(scene: Scene, found: Found) -> None:
    """F22"""
    good = scene.a.configuration.read_bytes()
    bad: list[bytes | None] = [
        b"upstream = ",
        good + b'\nunknown = "x"\n',
        b'max_body = "a lot"\n' + good,
        good[: len(good) // 2],
        b"\xff\xfe\x00",
        None,
    ]
    async with Workshop({}).desk(scene.a.settings) as desk:
        created = await desk.create_key("bob")
        async with scene.window(found):
            for number in range(100):
                told = scene.dice.choice([good, *bad]) if number % 2 else good
                if told is None:
                    scene.a.configuration.unlink()
                else:
                    scene.a.configuration.write_bytes(told)
                scene.a.signal(signal.SIGHUP)
                await asyncio.sleep(0.02)
            scene.a.configuration.write_bytes(good)
            scene.a.signal(signal.SIGHUP)
            statuses = [await status(scene.a.port, created.secret)]
            await desk.revoke(created.key.id)
            revoked, seconds = time.monotonic(), 0.0
            while await status(scene.a.port, created.secret) == 200:
                seconds = time.monotonic() - revoked
                await asyncio.sleep(0.02)
            if statuses != [200] or seconds > 1.2:
                found.wrong.append(f"a key was told {statuses} and lived {seconds:.1f} s longer than it should")
    told_log = scene.a.log
    accepted, refused = told_log.count(b'"event": "reloaded"'), told_log.count(b'"event": "reload_refused"')
    found.notes.append(f"{accepted} good ones taken, {refused} bad ones refused; a revoked key lived {seconds:.2f} s")
    if not accepted or not refused:
        found.wrong.append("not both kinds of file were read")


async def status(port: int, key: str) -> int:
    client = await RawClient.connect("127.0.0.1", port)
    try:
        await client.send(f"GET /api/tags HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
        return (await client.told()).status
    finally:
        client.close()


async def replaced(scene: Scene, found: Found) -> None:
    """F23"""
    async with scene.stage.guest("next") as gate:
        old = scene.load.targets
        async with scene.window(found):
            with scene.load.over(gate, scene.b):
                await asyncio.sleep(0.5)
                code = await scene.a.stop()
                await asyncio.sleep(0.5)
                await scene.a.start()
        if code != 0 or scene.load.targets is not old:
            found.wrong.append(f"the old gate ended with {code}")
        await scene.load.rest()
        scene.load.go_on()
    found.notes.append("with this run as the balancer: new calls go to the next gate, then the old one is told to end")


def _waiting(pipe: int) -> int:
    """Bytes that nobody has read."""
    (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))
    return int(count)


async def deaf_log(scene: Scene, found: Found) -> None:
    """F25"""
    for name in ("nobody reads", "/dev/full", "its reader is gone"):
        reader, writer = os.pipe()
        if name == "/dev/full":
            os.close(writer)
            writer = os.open("/dev/full", os.O_WRONLY)
        try:
            async with scene.stage.guest("deaf", {"log_level": "debug"}, stdout=writer) as gate:
                os.close(writer)
                writer = -1
                if name == "its reader is gone":
                    os.close(reader)
                    reader = -1
                with scene.load.over(gate):
                    async with scene.window(found):
                        began = time.monotonic()
                        while time.monotonic() < began + 2 or (
                            name == "nobody reads" and _waiting(reader) < FULL_PIPE and time.monotonic() < began + 30
                        ):  # Each leaves a line, and a pipe holds 64 KiB.
                            await asyncio.gather(*(status(gate.port, "llg_nobody") for _ in range(10)))
                    lost = (await gate.figures()).get("llamagate_log_lines_lost_total")
                    found.notes.append(f"{name}: {lost} lines lost")
                    if name == "nobody reads":
                        if (waiting := _waiting(reader)) < FULL_PIPE:
                            found.wrong.append(f"{name}: {waiting} bytes are no full pipe, so nothing was shown")
                    elif not lost:
                        found.wrong.append(f"{name}: no line was counted as lost")
        finally:
            for descriptor in (reader, writer):
                if descriptor >= 0:
                    os.close(descriptor)


async def no_port(scene: Scene, found: Found) -> None:
    """F28"""
    async with scene.stage.guest("taken", begins=False) as gate:
        for why in ("the port is taken", "the admin's port is taken", "there is no such folder", "no such network"):
            told = dict(gate.told)
            if why == "the port is taken":
                told["listen"] = f"127.0.0.1:{scene.a.port}"
            elif why == "the admin's port is taken":
                told["admin_listen"] = f"127.0.0.1:{scene.a.port}"
            elif why == "no such network":
                told["listen"] = f"192.0.2.1:{gate.port}"
            else:
                told["database_url"] = "sqlite:////proc/nowhere/book.db"
            gate.write(told)
            before = len(gate.complaints)
            process = gate.spawn()
            began = time.monotonic()
            try:
                await gate.ended()
            except TookTooLong:
                found.wrong.append(f"{why}: it goes on")
                gate.kill()
                continue
            said = gate.complaints[before:].decode().strip()
            if process.returncode == 0 or "Traceback" in said or not said or len(said.splitlines()) > 3:
                found.wrong.append(f"{why}: ended with {process.returncode}, and said {said!r}")
            if left := gate.journals():
                found.wrong.append(f"{why}: {len(left)} journals are left")
            found.notes.append(f"{why}: {process.returncode} after {time.monotonic() - began:.1f} s")


async def ends_at_once(scene: Scene, found: Found) -> None:
    """F29"""
    async with scene.stage.guest("loop", begins=False) as gate:
        gate.configuration.write_text("upstream = 7\n")
        statuses, began = [], time.monotonic()
        for _ in range(3):
            process = gate.spawn()
            await gate.ended()
            statuses.append(process.returncode)
        found.notes.append(
            f"ended with {statuses}, {(time.monotonic() - began) / 3:.1f} s each; systemd gives up on it"
        )
        if 0 in statuses:
            found.wrong.append("it ended as if all were well")
