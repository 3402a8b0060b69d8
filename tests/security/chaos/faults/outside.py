"""What is around the gates: the clock, issuers of tokens, names and certificates."""

import asyncio
import json
import signal
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import trustme

from tests.fakes.tokens import Forge
from tests.security.chaos.faults.gates import status
from tests.security.chaos.scene import Found, Scene
from tests.security.chaos.stage import TookTooLong, until

DAY = 86_400


async def clock(scene: Scene, found: Found) -> None:
    """F17"""
    offset = scene.stage.folder / "offset"
    offset.write_text("0")
    variables = {"CHAOS_CLOCK": str(offset)}
    async with scene.stage.guest("clock", variables=variables) as gate:
        with scene.load.over(gate):
            async with scene.window(found):
                for seconds in (3600, -3600, DAY, -DAY, 0):
                    offset.with_suffix(".new").write_text(str(seconds))
                    offset.with_suffix(".new").rename(offset)
                    await asyncio.sleep(scene.seconds / 3)
        lines = [json.loads(line) for line in gate.log.splitlines() if b'"call_ended"' in line]
        negative = [line for line in lines if any(line.get(name, 0) < 0 for name in DURATIONS)]
        days = {line["at"][:10] for line in lines}
        found.notes.append(f"{len(days)} days in {len(lines)} rows; the gate's own clock moved, the machine's did not")
        if negative:
            found.wrong.append(f"{len(negative)} rows have a negative duration")
        if len(days) < 2:
            found.wrong.append("the clock did not move, so nothing was shown")


DURATIONS = ("first_byte_seconds", "total_seconds", "gpu_seconds")


@dataclass
class Keys:
    """An issuer's JWKS, served as the mood is."""

    good: bytes
    mood: str = "good"
    asked: int = 0
    port: int = 0
    _answering: set["asyncio.Task[None]"] = field(default_factory=set)

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        with suppress(OSError, EOFError):
            await reader.readuntil(b"\r\n\r\n")
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            match self.mood:
                case "good":
                    writer.write(head + b"Content-Length: %d\r\n\r\n%b" % (len(self.good), self.good))
                case "500":
                    writer.write(b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n")
                case "302":
                    writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")
                case "half":
                    writer.write(
                        head + b"Content-Length: %d\r\n\r\n%b" % (len(self.good) // 2, self.good[: len(self.good) // 2])
                    )
                case "huge":
                    writer.write(head + b"Content-Length: 50000000\r\n\r\n")
                    for _ in range(500):
                        writer.write(b" " * 100_000)
                        await writer.drain()
                case "hang":
                    await asyncio.sleep(30)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def issuing() -> AsyncIterator[tuple[Keys, Forge]]:
    forge = Forge(datetime.now(UTC))
    keys = Keys(forge.jwks())
    server = await asyncio.start_server(keys.meet, "127.0.0.1", 0)
    keys.port = server.sockets[0].getsockname()[1]
    try:
        yield keys, forge
    finally:
        server.close()


async def issuer(scene: Scene, found: Found) -> None:
    """F24"""
    async with issuing() as (keys, forge):
        trusted, _ = forge.issuers()
        told = {
            "url": trusted.url,
            "audience": list(trusted.audiences),
            "algorithms": ["RS256"],
            "jwks_url": f"http://127.0.0.1:{keys.port}/jwks",
            "plan": "default",
            "refresh": REFRESH_SECONDS,
            "max_lifetime": "30d",
        }
        async with scene.stage.guest("issuer", {"issuers": {"made-up": told}}) as gate:
            good = forge.good("RS256")
            with scene.load.over(gate):
                async with scene.window(found):
                    statuses = {await status(gate.port, good)}
                    keys.mood, asked = scene.dice.choice(("500", "302", "half", "huge")), keys.asked
                    over = time.monotonic() + REFRESH_SECONDS + 10
                    while keys.asked == asked and time.monotonic() < over:
                        statuses |= {await status(gate.port, good)}
                        await asyncio.sleep(0.5)
                    await asyncio.sleep(1)
                    statuses |= {await status(gate.port, good)}
                    failed = (await gate.figures()).get(FAILURES, 0)
                    if not failed:
                        found.wrong.append(f"keys that come as {keys.mood} are no failure")
                    found.notes.append(f"keys came as {keys.mood}")
                    before = keys.asked
                    unknown = [
                        await status(gate.port, forge.signed({"kid": f"none-{n}", "alg": "RS256"}, forge.payload()))
                        for n in range(50)
                    ]
                    keys.mood = "good"
            figures = await gate.figures()
            found.notes.append(
                f"{figures.get(FETCHES, 0):.0f} fetches, {figures.get(FAILURES, 0):.0f} failed; "
                f"50 unknown keys caused {keys.asked - before}"
            )
            if statuses != {200}:
                found.wrong.append(f"tokens of a key that is known were told {sorted(statuses)}")
            if keys.asked - before > 2 or not set(unknown) <= {401, 429, 503}:
                found.wrong.append(
                    f"unknown keys caused {keys.asked - before} fetches and were told {sorted(set(unknown))}"
                )


REFRESH_SECONDS = 30
"""The least that may be told."""
FETCHES = 'llamagate_issuer_fetches_total{issuer="made-up"}'
FAILURES = 'llamagate_issuer_failures_total{issuer="made-up"}'


async def names(scene: Scene, found: Found) -> None:
    """F26"""
    async with scene.stage.guest("names", {"upstream": "http://no-such-host.invalid:11434"}) as gate:
        began = time.monotonic()
        verdicts = [await scene.load.ask(gate) for _ in range(5)]
        if {one.kind for one in verdicts} != {"503 backend_down"}:
            found.wrong.append(f"callers were told {sorted({one.kind for one in verdicts})}")
        found.notes.append(f"a name that nobody knows: 503 backend_down, {(time.monotonic() - began) / 5:.1f} s each")
    async with scene.stage.guest("six", {"upstream": f"http://[::1]:{scene.stage.upstream.port}"}) as gate:
        kinds = {(await scene.load.ask(gate)).kind for _ in range(3)}
        if kinds != {"503 backend_down"}:
            found.wrong.append(f"with an upstream that has no IPv6 callers were told {sorted(kinds)}")


async def certificates(scene: Scene, found: Found) -> None:
    """F27"""
    folder = scene.stage.folder / f"tls-{time.monotonic_ns()}"
    folder.mkdir()
    authority = trustme.CA()

    def put(one: trustme.LeafCert, key: trustme.LeafCert | None = None) -> None:
        (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in one.cert_chain_pems))
        (folder / "key.pem").write_bytes((key or one).private_key_pem.bytes())
        (folder / "key.pem").chmod(0o600)

    first = authority.issue_cert("127.0.0.1")
    put(first)
    tls = {"certificate": str(folder / "cert.pem"), "key": str(folder / "key.pem")}
    async with scene.stage.guest("tls", {"tls": tls}) as gate:
        context = ssl.create_default_context()
        authority.configure_trust(context)

        async def shown() -> bytes:
            _, writer = await asyncio.open_connection("127.0.0.1", gate.port, ssl=context)
            try:
                told: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
                return told
            finally:
                writer.close()

        before = await shown()
        put(authority.issue_cert("127.0.0.1"), first)  # The key of another one.
        gate.signal(signal.SIGHUP)
        await asyncio.sleep(0.5)
        if await shown() != before:
            found.wrong.append("a certificate without its key took the place of the old one")
        if b"reload_refused" not in gate.log:
            found.wrong.append("nobody was told that the certificate is no good")
        put(authority.issue_cert("127.0.0.1"))
        gate.signal(signal.SIGHUP)

        async def renewed() -> bool:
            return await shown() != before

        over = time.monotonic() + 5
        while not await renewed():
            if time.monotonic() > over:
                found.wrong.append("a good certificate was not taken")
                break
            await asyncio.sleep(0.05)
        stalled = [await asyncio.open_connection("127.0.0.1", gate.port) for _ in range(10)]
        began = time.monotonic()
        try:
            async with asyncio.timeout(15):
                for reader, writer in stalled:
                    writer.write(b"\x16\x03\x01")
                    with suppress(OSError):
                        await reader.read()
        except TimeoutError:
            found.wrong.append("a handshake that stalls is never ended")
        for _, writer in stalled:
            writer.close()
        found.notes.append(f"handshakes that stall are ended after {time.monotonic() - began:.1f} s")
        expired = authority.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))
        put(expired)
        gate.signal(signal.SIGHUP)
        try:
            await until(lambda: b"expired" in gate.log, 3, "a word on it")
        except TookTooLong:
            found.notes.append("of a certificate that has expired nothing is said")
