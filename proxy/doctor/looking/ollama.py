"""Asks Ollama, as the gate finds it and around the gate. Asks it for nothing that it would have to work for."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from proxy.config.addresses import is_loopback
from proxy.doctor.clocks import Clock
from proxy.doctor.looking import PATIENCE_SECONDS, http, within
from proxy.doctor.ollama import Ollama
from proxy.vocabulary import Clock as Steady
from proxy.vocabulary import Now

FOREIGN = "gate-doctor.example"
"""A host that nobody is."""
DATE_IS_UNSURE = 1.0
"""Seconds: it tells no parts of one."""


async def look(
    url: str, addresses: Iterable[str], *, clock: Steady, now: Now, patience: float = PATIENCE_SECONDS
) -> tuple[Ollama, Clock | None]:
    """``addresses`` are this machine's own that others may reach. Also how its clock stands, where it tells."""
    place = http.place_of(url)
    is_here = is_loopback(place.host)
    around = sorted({*addresses} - {place.host}) if is_here else []
    found = Ollama(url, is_here=is_here, asked_at=tuple(_shown(one, place.port) for one in around))

    async def asked() -> tuple[Ollama, Clock | None]:
        before = now()
        told = await http.ask(place, "GET", "/api/version", clock=clock)
        after = now()
        if told.status != 200 or "version" not in (said := _object(told.body)):
            return replace(found, failure=f"what answers there is no Ollama (status {told.status})"), None
        foreign_host, foreign_origin, cloud_disabled = await asyncio.gather(
            _status(place, {"Host": f"{FOREIGN}:{place.port}"}, clock),
            _status(place, {"Origin": f"https://{FOREIGN}"}, clock),
            _cloud_disabled(place, clock),
        )
        signed_in = None if cloud_disabled else await _signed_in(place, clock)
        answered = replace(
            found,
            version=str(said["version"])[:64],
            foreign_host=foreign_host,
            foreign_origin=foreign_origin,
            cloud_disabled=cloud_disabled,
            signed_in=signed_in,
        )
        return answered, _clock(http.date_of(told.fields), before, after)

    (ollama, other), answers_at = await asyncio.gather(
        within(patience, asked(), lambda why: (replace(found, failure=why), None)),
        asyncio.gather(*(_answers(one, place, clock, patience) for one in around)),
    )
    return replace(ollama, answers_at=tuple(filter(None, answers_at))), other


async def _answers(address: str, place: http.Place, clock: Steady, patience: float) -> str | None:
    """The address, if Ollama answers there."""
    there = replace(place, host=address)

    async def asked() -> str | None:
        told = await http.ask(there, "GET", "/api/version", clock=clock)
        return _shown(address, place.port) if "version" in _object(told.body) else None

    return await within(patience, asked(), lambda _: None)


async def _status(place: http.Place, fields: Mapping[str, str], clock: Steady) -> int:
    return (await http.ask(place, "GET", "/api/version", fields=fields, clock=clock)).status


async def _cloud_disabled(place: http.Place, clock: Steady) -> bool | None:
    told = await http.ask(place, "GET", "/api/status", clock=clock)
    cloud = _object(told.body).get("cloud")
    disabled = cloud.get("disabled") if isinstance(cloud, dict) and told.status == 200 else None
    return disabled if isinstance(disabled, bool) else None


async def _signed_in(place: http.Place, clock: Steady) -> bool | None:
    """Only the status is looked at: the answer names the owner. Ollama asks ollama.com, which may be away."""

    async def asked() -> bool | None:
        told = await http.ask(place, "POST", "/api/me", clock=clock)
        return {200: True, 401: False}.get(told.status)

    return await within(PATIENCE_SECONDS / 2, asked(), lambda _: None)


def _clock(date: datetime | None, before: datetime, after: datetime) -> Clock | None:
    if date is None:
        return None
    middle = before + (after - before) / 2
    # It was cut down to the second, so that half of one is missing on average.
    ahead = (date - middle).total_seconds() + DATE_IS_UNSURE / 2
    return Clock("Ollama", ahead, DATE_IS_UNSURE / 2 + (after - before).total_seconds() / 2)


def _object(body: bytes) -> dict[str, Any]:
    try:
        told = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _shown(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
