"""An entry as flat facts: what ``calls --json`` prints, a log line carries and the book keeps. No I/O."""

from datetime import UTC

from proxy.vocabulary import Entry

Fact = str | int | float | bool | None


def facts(entry: Entry) -> dict[str, Fact]:
    """Every field under a name of its own, the time in UTC as ISO 8601 tells it."""
    usage = entry.usage
    return {
        "id": entry.id,
        "at": entry.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "user": entry.user,
        "team": entry.team,
        "key_id": entry.key_id,
        "plan": entry.plan,
        "endpoint": entry.endpoint,
        "model": entry.model,
        "stream": entry.stream,
        "outcome": entry.outcome.value,
        "status": entry.status,
        "reason": entry.reason,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "exact": usage.exact,
        "suspicious": usage.suspicious,
        "load_seconds": usage.load_seconds,
        "prompt_seconds": usage.prompt_seconds,
        "completion_seconds": usage.completion_seconds,
        "gpu_seconds": entry.gpu_seconds,
        "first_byte_seconds": entry.first_byte_seconds,
        "total_seconds": entry.total_seconds,
        "bytes_in": entry.bytes_in,
        "bytes_out": entry.bytes_out,
        "peer": entry.peer,
        "changes": ", ".join(entry.changes) or None,
        "prompt_cut": entry.prompt_cut,
        "cost": entry.cost,
        "elsewhere": entry.elsewhere,
        "watt_hours": entry.watt_hours,
    }
