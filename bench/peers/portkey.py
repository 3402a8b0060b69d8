"""Portkey's gateway for Node.js: it is told in each request's header fields where to go.

With what was newest when it was locked, it answers 500 to whatever streams, and so has figures of unary calls only.
"""

import shutil
from pathlib import Path

from bench.peers import PORTKEY, NotInstalled, found
from bench.servers import Plan, clean_environment, free_port

START_SECONDS = 60.0


def plan(folder: Path, before: Plan) -> Plan:
    """In a folder that is not there yet. Raises NotInstalled."""
    start = Path("node_modules/@portkey-ai/gateway/build/start-server.js")
    program = found(PORTKEY, lambda at: at / start)
    node = shutil.which("node")
    if not node:
        raise NotInstalled("Portkey needs Node.js")
    port = free_port()
    folder.mkdir()
    fields = ("x-portkey-provider: openai", f"x-portkey-custom-host: http://127.0.0.1:{before.port}/v1")
    own = clean_environment(NODE_ENV="production", TRUSTED_CUSTOM_HOSTS="127.0.0.1,localhost")
    command = (node, str(program), "--headless", f"--port={port}")
    note = "no keys, no limits, no ledger"
    return Plan(PORTKEY, port, command, own, fields=fields, exact=False, start_seconds=START_SECONDS, note=note)
