"""What a backend's refusal means to the caller. Nothing in this module does I/O."""

import json
import re

from proxy.errors import BackendFailed, BackendRefused, ModelServerBusy, safe_to_show

MOST_BYTES = 64 * 1024
"""Of an error's body that are read."""
PASSED_ON = range(400, 600)
TOO_LONG = "Shorten it, or ask for a model that holds more."

# What Ollama says with a 500 may hold a path, a stack or another caller's words; these say nothing but what they say.
HARMLESS = re.compile(
    r"model requires more system memory|out of memory|does not support|llama runner process has terminated"
    r"|option \S+ must be of type|timed out waiting for|model failed to load|unable to load model",
    re.IGNORECASE,
)


def refusal(status: int, body: bytes) -> BackendFailed:
    """The error to raise for an answer that is not a good one.

    Ollama says no in three shapes and the frameworks below it in more; what is kept is the status, where it can mean
    the same to the caller, and the sentence. The rest stays behind: ``signin_url`` would link the owner's account.
    """
    message = _sentence(body)
    if status not in PASSED_ON or status == 405 or (status in (401, 403) and not message):
        return BackendFailed()  # A redirect, an upgrade, or a refusal of the gate itself: not the caller's doing.
    if status in (401, 407):
        return BackendRefused(502, "The model server is not signed in to what this model needs.")
    if status == 503:
        return ModelServerBusy()
    if message and "context length" in message:
        return BackendRefused(status, f"{message.rstrip('.')}. {TOO_LONG}")
    if status >= 500 and not (message and HARMLESS.search(message)):
        return BackendRefused(status, "The model server failed on this request.")
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
                return None
    if not isinstance(told, str) or not told.strip():
        return None
    return safe_to_show(told)
