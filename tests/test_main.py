import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.fakes.raw_client import RawClient
from tests.fakes.upstream import RecordingUpstream


async def test_the_gate_opens_from_the_command_line_and_ends_when_told_to(
    upstream: RecordingUpstream, tmp_path: Path
) -> None:
    told = {"LLAMAGATE_STATE_DIR": str(tmp_path / "state"), "LLAMAGATE_UPSTREAM": upstream.url}
    gate = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "serve", "--listen", "127.0.0.1:0"),
        env={**os.environ, **told},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert gate.stderr is not None
    try:
        async with asyncio.timeout(30):
            while "listens on" not in (line := (await gate.stderr.readline()).decode()):
                assert line, "it ended before it listened"
            client = await RawClient.connect("127.0.0.1", int(line.strip().rpartition(":")[2]))
            await client.send(b"GET /api/tags HTTP/1.1\r\nHost: a\r\n\r\n")
            refused = await client.told()
            client.close()
            gate.send_signal(signal.SIGTERM)
            log, _ = await gate.communicate()
    finally:
        if gate.returncode is None:
            gate.kill()

    assert (401, 0) == (refused.status, gate.returncode)
    assert 1 == log.count(b'"call_ended"')
