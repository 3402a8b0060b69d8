"""Give the owner a desk over what is kept."""

import secrets
from typing import TYPE_CHECKING

from proxy.admin.actor import Actor
from proxy.admin.office import LimitsOffice
from proxy.auth import api_keys, ollama_identity
from proxy.bootstrap import clocks
from proxy.bootstrap.storage import Records, pepper_of
from proxy.config.settings import Settings
from proxy.late import late
from proxy.policy.models import canonical_pattern

if TYPE_CHECKING:
    from proxy.admin import desk
else:
    desk = late("proxy.admin.desk")


def desk_over(kept: Records, settings: Settings, office: LimitsOffice, actor: Actor) -> "desk.Desk":
    """What the owner can do; ``actor`` is who is told to have done it."""

    def mint(key_id: str | None) -> tuple[str, str, bytes]:
        new_id, key = api_keys.new(secrets.token_bytes, key_id)
        return new_id, key, api_keys.digest(key, pepper_of(settings))

    def read_identity(line: str) -> tuple[str, bytes]:
        public_key = ollama_identity.public_key(line)
        return ollama_identity.key_id_of(public_key), public_key

    return desk.Desk(
        kept.registry,
        kept.book,
        settings.plan_table(),
        mint,
        clocks.now,
        canonical_pattern,
        office,
        actor,
        read_identity,
        settings.issuers.keys(),
    )
