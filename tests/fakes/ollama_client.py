"""Signs as Ollama's own client does, from a key file such as it has."""

import base64
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAME = "id_ed25519"


def new_key_file(folder: Path, seed: bytes | None = None) -> Path:
    """A pair in a folder, as the client makes it in ``.ollama`` at its first start; returns the private one's path.

    ``seed`` is the private key itself, 32 bytes; else a new one is drawn.
    """
    key = Ed25519PrivateKey.from_private_bytes(seed) if seed else Ed25519PrivateKey.generate()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    formats = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(*formats))
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    path.with_suffix(".pub").write_bytes(line + b"\n")
    return path


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gate said."""

    status: int
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes


class OllamaClient:
    """Who has such a file."""

    def __init__(self, path: Path) -> None:
        key = serialization.load_ssh_private_key(path.read_bytes(), password=None)
        assert isinstance(key, Ed25519PrivateKey)
        self._key = key

    @property
    def public_line(self) -> str:
        """As it stands in the ``.pub`` file, which has no comment."""
        formats = (serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
        return self._key.public_key().public_bytes(*formats).decode()

    @property
    def public_key(self) -> bytes:
        return self._key.public_key().public_bytes_raw()

    def sign(self, text: bytes) -> str:
        """The value of ``Authorization`` for a text."""
        return f"{self.public_line.split(' ')[1]}:{base64.b64encode(self._key.sign(text)).decode()}"

    def authorization(self, method: str, path: str, ts: int) -> str:
        """That for a request at some Unix second."""
        return self.sign(f"{method},{path}?ts={ts}".encode())

    def ask(self, url: str, method: str, path: str, body: bytes | None = None, *, ts: int) -> Answer:
        """The signed request, sent to a gate at this URL."""
        headers = {
            "Content-Type": "application/json",
            "Accept": "application/json",
            "User-Agent": "ollama/0.12.0 (amd64 linux) Go/go1.24.1",
            "Authorization": self.authorization(method, path, ts),
        }
        return sent(f"{url}{path}?ts={ts}", method, headers, body)


def sent(url: str, method: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
    """A request as it is told, and its answer, whatever the status."""
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())
    except urllib.error.HTTPError as refusal:
        with refusal:
            told = {name.lower(): value for name, value in refusal.headers.items()}
            return Answer(refusal.code, told, refusal.read())
