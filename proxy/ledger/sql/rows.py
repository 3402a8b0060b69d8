"""Entries and running calls as rows of the database. No I/O."""

import json
from collections.abc import Mapping
from datetime import datetime
from operator import attrgetter
from typing import Any

import msgspec

from proxy.ledger import Running
from proxy.ledger.facts import facts
from proxy.ledger.sql.times import written
from proxy.vocabulary import Entry, Outcome, Usage

Row = tuple[Any, ...]

RUNNING = (
    *("id", "journal", "at", "user", "team", "key_id", "plan", "endpoint", "model", "stream", "peer", "prompt_floor"),
    "told",
)
"""The columns of ``running`` in the order of ``row_of_running``."""
CALLS = (
    *("id", "at", "user", "team", "key_id", "plan", "endpoint", "model", "stream", "peer", "outcome", "status"),
    *("reason", "prompt_tokens", "completion_tokens", "exact", "suspicious", "load_seconds", "prompt_seconds"),
    *("completion_seconds", "gpu_seconds", "first_byte_seconds", "total_seconds", "bytes_in", "bytes_out", "changes"),
    *("prompt_cut", "cost", "elsewhere", "watt_hours"),
)
"""The columns of ``calls`` in the order of ``row_of``."""

_AS_IT_STANDS = ("user", "team", "key_id", "plan", "endpoint", "model", "stream", "peer", "prompt_floor")
_standing = attrgetter(*_AS_IT_STANDS)
_encode = msgspec.json.Encoder().encode


def row_of(entry: Entry) -> Row:
    """Its facts, but for the time, which is kept to the microsecond: it is what they are sorted and summed by."""
    usage = entry.usage
    return (
        entry.id,
        written(entry.at),
        entry.user,
        entry.team,
        entry.key_id,
        entry.plan,
        entry.endpoint,
        entry.model,
        entry.stream,
        entry.peer,
        entry.outcome.value,
        entry.status,
        entry.reason,
        usage.prompt_tokens,
        usage.completion_tokens,
        usage.exact,
        usage.suspicious,
        usage.load_seconds,
        usage.prompt_seconds,
        usage.completion_seconds,
        entry.gpu_seconds,
        entry.first_byte_seconds,
        entry.total_seconds,
        entry.bytes_in,
        entry.bytes_out,
        ", ".join(entry.changes) or None,
        entry.prompt_cut,
        entry.cost,
        entry.elsewhere,
        entry.watt_hours,
    )


def entry_of(row: Mapping[Any, Any]) -> Entry:
    return Entry(
        id=row["id"],
        at=datetime.fromisoformat(row["at"]),
        endpoint=row["endpoint"],
        outcome=Outcome(row["outcome"]),
        status=row["status"],
        reason=row["reason"],
        user=row["user"],
        team=row["team"],
        key_id=row["key_id"],
        plan=row["plan"],
        model=row["model"],
        stream=row["stream"],
        usage=Usage(
            prompt_tokens=row["prompt_tokens"],
            completion_tokens=row["completion_tokens"],
            exact=row["exact"],
            suspicious=row["suspicious"],
            load_seconds=row["load_seconds"],
            prompt_seconds=row["prompt_seconds"],
            completion_seconds=row["completion_seconds"],
        ),
        gpu_seconds=row["gpu_seconds"],
        first_byte_seconds=row["first_byte_seconds"],
        total_seconds=row["total_seconds"],
        bytes_in=row["bytes_in"],
        bytes_out=row["bytes_out"],
        peer=row["peer"],
        changes=tuple(filter(None, (row["changes"] or "").split(", "))),
        prompt_cut=row["prompt_cut"],
        cost=row["cost"],
        elsewhere=row["elsewhere"],
        watt_hours=row["watt_hours"],
    )


def row_of_running(one: Running, journal: str) -> Row:
    told = one.told
    text = None if told is None else _encode({**facts(told), "at": written(told.at)}).decode()
    return (one.id, journal, written(one.at), *_standing(one), text)


def running_of(row: Mapping[Any, Any]) -> Running:
    told = None if row["told"] is None else entry_of(json.loads(row["told"]))
    standing = {name: row[name] for name in _AS_IT_STANDS}
    return Running(id=row["id"], at=datetime.fromisoformat(row["at"]), told=told, **standing)
