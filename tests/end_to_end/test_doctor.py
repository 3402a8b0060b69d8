"""The doctor as a command, on a real gate and through it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end.commands import forge
from tests.end_to_end.gate import COMMAND_SECONDS, Gate, ended, opened, scripted
from tests.end_to_end.processes import environment, until
from tests.fakes.redis import free_port


def test_a_gate_that_runs_is_found_in_order_from_inside_and_from_outside(tmp_path: Path) -> None:
    with scripted(tmp_path) as engine, opened(tmp_path, engine) as gate:
        account = gate.issue("alice")
        inside = ended(tmp_path, "doctor", "--json")
        variables = {**environment(tmp_path), "LLAMAGATE_DOCTOR_KEY": account.key}
        words = ["doctor", "--url", f"{gate.url}/v1", "--wait", "1", "--json"]
        outside = forge().run(words, tmp_path, variables, COMMAND_SECONDS)
        calls = gate.calls(account)
    within = {one["id"]: one["severity"] for one in json.loads(inside.stdout)["findings"]}
    without = {one["id"]: one["severity"] for one in json.loads(outside.stdout)["findings"]}

    assert {"gate.running": "ok", "gate.ledger": "ok", "gate.keys": "ok", "file.mode": "ok"}.items() <= within.items()
    assert 0 == outside.returncode, outside.stdout
    assert {"front.key", "front.stream", "front.peer", "front.wait", "front.body"} <= without.keys()
    assert account.key not in outside.stdout + outside.stderr + inside.stdout
    assert {("/v1/doctor", 200), ("/v1/chat/completions", 404)} == {(one["endpoint"], one["status"]) for one in calls}
    assert 0 == sum(one["prompt_tokens"] + one["completion_tokens"] for one in calls)


AS_IT_COMES = "proxy_read_timeout 1s; gzip on; gzip_types text/event-stream; gzip_proxied any;"
"""But for the time, which would take as long here, and for what many add for their web pages."""
AS_IT_SHOULD_BE = """proxy_http_version 1.1; proxy_buffering off; proxy_request_buffering off; client_max_body_size 32m;
        proxy_read_timeout 11m;"""
NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;
events {{}}
http {{
    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/1; uwsgi_temp_path {folder}/2; scgi_temp_path {folder}/3;
    server {{ listen 127.0.0.1:{port}; {how} location / {{ proxy_pass {gate}; }} }}
}}
"""


@contextmanager
def nginx(folder: Path, gate: Gate, how: str) -> Iterator[str]:
    """Its URL, while it stands in front of the gate."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        pytest.skip("there is no nginx here")
    folder.mkdir()
    port = free_port()
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, how=how, gate=gate.url))
    process = subprocess.Popen([program, "-c", folder / "nginx.conf", "-e", folder / "error.log"])
    try:
        until(lambda: (folder / "pid").exists() or None, 10, "an nginx")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def test_an_nginx_as_it_comes_is_found_to_hold_back_to_cut_and_to_refuse_and_one_that_is_told_better_is_not(
    tmp_path: Path,
) -> None:
    with scripted(tmp_path) as engine, opened(tmp_path, engine) as gate:
        variables = {**environment(tmp_path), "LLAMAGATE_DOCTOR_KEY": gate.issue("alice").key}

        def bad(url: str) -> tuple[int, set[str]]:
            words = ["doctor", "--url", url, "--wait", "3", "--json"]
            done = forge().run(words, tmp_path, variables, COMMAND_SECONDS)
            found = json.loads(done.stdout)["findings"]
            return done.returncode, {one["id"] for one in found if one["severity"] in ("warning", "critical")}

        with nginx(tmp_path / "bad", gate, AS_IT_COMES) as url:
            as_it_comes = bad(url)
        with nginx(tmp_path / "good", gate, AS_IT_SHOULD_BE) as url:
            as_it_should_be = bad(url)

    assert (2, {"front.stream", "front.compression", "front.wait", "front.body"}) == as_it_comes
    assert (0, set()) == as_it_should_be
