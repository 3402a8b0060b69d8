"""What a gate has loaded once it answers, for that is most of its start and of its memory."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from tests.fakes.raw_client import RawClient
from tests.fakes.upstream import RecordingUpstream

NEVER_BY_DEFAULT = {
    "aiohttp.client": "no issuer's keys are fetched",
    "aiohttp.connector": "no issuer's keys are fetched",
    "aiohttp.web": "its router and files are not in use",
    "alembic": "the database is at the newest schema",
    "asyncpg": "it is SQLite",
    "cryptography": "no certificate, identity or issuer is on record",
    "jwt": "no issuer is trusted",
    "opentelemetry": "nothing is traced",
    "prometheus_client": "there is no admin listener",
    "proxy.admin.cli.keys": "it is another command",
    "proxy.admin.desk": "nobody changes anything on record",
    "proxy.auth.jwks": "no issuer is trusted",
    "proxy.demo": "it is no demo",
    "proxy.limits.redis.link": "there is no Redis",
    "proxy.schema.migrating": "the database is at the newest schema",
    "proxy.web.openapi": "nobody asks for the document",
    "pyarrow": "nobody exports anything",
    "redis": "there is no Redis",
    "rich.console": "no table is drawn",
    "sqlalchemy.dialects.postgresql": "it is SQLite",
    "sqlalchemy.orm": "no object is mapped",
}
"""Each with the reason why it can be done without."""


async def test_a_default_gate_has_nothing_loaded_that_it_does_not_need(
    upstream: RecordingUpstream, tmp_path: Path
) -> None:
    told = {"LLAMAGATE_STATE_DIR": str(tmp_path / "state"), "LLAMAGATE_UPSTREAM": upstream.url}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LLAMAGATE_")} | told
    create = (sys.executable, "-m", "proxy", "keys", "create", "--user", "alice", "--json")
    creating = await asyncio.create_subprocess_exec(*create, env=environment, stdout=asyncio.subprocess.PIPE)
    key = json.loads((await creating.communicate())[0])["key"]
    gate = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "importtime", "-m", "proxy", "serve", "--listen", "127.0.0.1:0"),
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert gate.stderr is not None
    loaded: set[str] = set()
    try:
        async with asyncio.timeout(60):
            while "listens on" not in (line := (await gate.stderr.readline()).decode()):
                assert line, "it ended before it listened"
                loaded.add(line.rpartition("|")[2].strip())
            client = await RawClient.connect("127.0.0.1", int(line.strip().rpartition(":")[2]))
            await client.send(f"GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}\r\n\r\n".encode())
            answer = await client.told()
            client.close()
            gate.send_signal(signal.SIGTERM)
            _, rest = await gate.communicate()
    finally:
        if gate.returncode is None:
            gate.kill()
    loaded |= {line.rpartition("|")[2].strip() for line in rest.decode().splitlines()}

    assert (200, 0) == (answer.status, gate.returncode)
    assert {"aiohttp.web_protocol", "proxy.gateway", "sqlalchemy.engine"} <= loaded
    assert set() == NEVER_BY_DEFAULT.keys() & loaded
