"""nginx in front of the upstream: it knows its caller by a map of keys, limits them and writes an access log."""

import shutil
from pathlib import Path

from bench.peers import NGINX, NotInstalled
from bench.servers import Plan, clean_environment, free_port

KEY = "sk-nginx-0123456789"
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_CONFIGURATION = """
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
    access_log {folder}/access.log combined;
    {temporary}
    map $http_authorization $who {{ default ""; "Bearer {key}" bench; }}
    limit_req_zone $who zone=each:1m rate=1000000r/s;
    upstream ollama {{ server 127.0.0.1:{upstream}; keepalive 1024; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        keepalive_requests 1000000000;
        keepalive_timeout 600s;
        client_max_body_size 0;
        location / {{
            if ($who = "") {{ return 401; }}
            limit_req zone=each burst=1000000 nodelay;
            proxy_pass http://ollama;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 600s;
        }}
    }}
}}
"""
_ANSWERING = """
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
events {{ worker_connections 16384; }}
http {{
    access_log off;
    {temporary}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        keepalive_requests 1000000000;
        default_type application/json;
        location = /api/tags {{ return 200 '{tags}'; }}
        location / {{ return 200 '{whole}'; }}
    }}
}}
"""


def program() -> str:
    """Its path. Raises NotInstalled."""
    found = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if not found:
        raise NotInstalled("nginx is not installed; on Debian: apt-get install nginx-light")
    return found


def configuration(folder: Path, port: int, upstream: int) -> str:
    """As ``plan`` has it: whatever nginx writes, it writes into this folder."""
    return _filled(_CONFIGURATION, folder, port=str(port), key=KEY, upstream=str(upstream))


def _filled(text: str, folder: Path, **told: str) -> str:
    temporary = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in _TEMPORARY)
    return text.format(folder=folder, temporary=temporary, **told)


def plan(folder: Path, before: Plan) -> Plan:
    """In a folder that is not there yet. Raises NotInstalled."""
    port = free_port()
    note = "one worker; a map of keys, limit_req, access log, proxy_buffering off"
    return _plan(NGINX, folder, _CONFIGURATION, port, note=note, key=KEY, upstream=str(before.port))


def answering(folder: Path, whole: bytes, tags: bytes) -> Plan:
    """nginx as the upstream, with these two bodies for any question and for the list of models. Raises NotInstalled."""
    told = {"whole": whole.decode(), "tags": tags.decode()}
    return _plan("upstream of nginx", folder, _ANSWERING, free_port(), **told)


def _plan(name: str, folder: Path, text: str, port: int, note: str = "", key: str = "none", **told: str) -> Plan:
    nginx = program()
    folder.mkdir()
    file = folder / "nginx.conf"
    file.write_text(_filled(text, folder, port=str(port), key=key, **told))
    command = (nginx, "-p", str(folder), "-c", str(file), "-e", str(folder / "error.log"))
    return Plan(name, port, command, clean_environment(), key, note=note)
