"""What a backend's refusal means to the caller. Nothing in this module does I/O."""

import json

from proxy.errors import BackendFailed, BackendRefused

MOST_BYTES = 64 * 1024
"""Of an error's body that are read."""
LONGEST_MESSAGE = 500
PASSED_ON = range(400, 600)


def refusal(status: int, body: bytes) -> BackendFailed:
    """The error to raise for an answer that is not 200.

    Ollama says no in three shapes and the frameworks below it in more; what is kept is the status, where it can mean
    the same to the caller, and the sentence. The rest stays behind: ``signin_url`` would link the owner's account.
    """
    message = _sentence(body)
    if status not in PASSED_ON or (status in (401, 403) and not message):
        return BackendFailed()  # A redirect, an upgrade, or a refusal of the gate itself: not the caller's doing.
    if status in (401, 407):
        return BackendRefused(502, "The model server is not signed in to what this model needs.")
    return BackendRefused(status, message)


def _sentence(body: bytes) -> str | None:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return None
    for _ in range(6):  # A runner's error comes wrapped, on /v1 twice: {"error": "{\"error\": {\"message\": …}}"}.
        if isinstance(told, dict):
            told = told.get("error") or told.get("message")
        elif isinstance(told, str) and told.lstrip().startswith("{"):
            try:
                told = json.loads(told)
            except (ValueError, RecursionError):
                break
    if not isinstance(told, str) or not told.strip():
        return None
    return "".join(letter if letter.isprintable() else " " for letter in told[:LONGEST_MESSAGE])
