"""What the image does from its start to its end, seen from inside. Run in there as a program, it prints one JSON value.

It is given the command of the image, that of its health check, and begins its own Ollama at the usual address.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from proxy.demo import scripted

GATE = "http://127.0.0.1:11435"
START_SECONDS = 60.0


def command(*words: str) -> str:
    """What ``docker compose exec gate`` with these words would print."""
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=START_SECONDS).stdout


def asked(key: str) -> str:
    """A stream."""
    said = {"model": "llama3.2:1b", "stream": True, "messages": [{"role": "user", "content": "Say hello."}]}
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{GATE}/v1/chat/completions", json.dumps(said).encode(), headers)
    with urllib.request.urlopen(request, timeout=START_SECONDS) as answer:
        return str(answer.read().decode())


def healthy(gate: subprocess.Popen[str], check: list[str]) -> int:
    """How long it took, in milliseconds."""
    begun = time.monotonic()
    while subprocess.run(check, check=False, capture_output=True).returncode:
        if time.monotonic() - begun > START_SECONDS:
            gate.kill()
            raise SystemExit(f"It never was healthy: {gate.communicate()}")
        time.sleep(0.05)
    return round((time.monotonic() - begun) * 1000)


def tried(path: str) -> str:
    """Whether this may be written."""
    try:
        os.close(os.open(f"{path}/trial", os.O_CREAT | os.O_WRONLY))
    except OSError as error:
        return str(error.strerror)
    return "written"


def kept() -> list[str]:
    return sorted(path.name for path in Path(os.environ["LLAMAGATE_STATE_DIR"]).iterdir())


async def main() -> None:
    start, check = json.loads(sys.argv[1]), json.loads(sys.argv[2])
    ollama = await scripted.start(port=11434)
    gate = await asyncio.to_thread(subprocess.Popen, start, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    took = await asyncio.to_thread(healthy, gate, check)
    issued = json.loads(await asyncio.to_thread(command, "llamagate", "keys", "create", "--user", "alice", "--json"))
    stream = await asyncio.to_thread(asked, issued["key"])
    usage = json.loads(await asyncio.to_thread(command, "llamagate", "usage", "--by", "user", "--json"))
    pip = await asyncio.to_thread(subprocess.run, [sys.executable, "-m", "pip", "--version"], capture_output=True)
    gate.send_signal(signal.SIGTERM)
    _, errors = await asyncio.to_thread(gate.communicate)
    found = {
        "ollama": ollama.url,
        "health_milliseconds": took,
        "stream": stream,
        "usage": usage,
        "pip": pip.returncode,
        "ended": gate.returncode,
        "errors": errors,
        "user": os.getuid(),
        "code": tried("/opt/llamagate"),
        "kept": kept(),
    }
    sys.stdout.write(json.dumps(found))


asyncio.run(main())
