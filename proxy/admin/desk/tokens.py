"""Tokens of other issuers at the desk: which of them are refused however genuine they are."""

from proxy.admin.desk.clerk import Clerk
from proxy.admin.refusals import NotDone
from proxy.admin.rules import name
from proxy.auth import Denial

CLAIMS = ("jti", "sub")
LONGEST_VALUE = 255
_TOKEN_BEGINS = "eyJ"  # noqa: S105 - what every JSON object that is a token's header begins with, in base64
_LONGEST_SHOWN = 64


class Tokens(Clerk):
    """Every method raises NotDone."""

    async def deny(self, issuer: str, claim: str, value: str, note: str | None = None) -> Denial:
        """Refuse that token, or every token of that subject, from now on; one that is refused already stays so."""
        if issuer not in self._issuers:
            there = f"There are: {', '.join(sorted(self._issuers))}." if self._issuers else "None is configured."
            raise NotDone(f"There is no issuer {issuer[:_LONGEST_SHOWN]!r}. {there}")
        denial = Denial(issuer, claim, _value(claim, value), self._now(), None if note is None else name("note", note))
        said = {claim: denial.value} | ({"note": denial.note} if denial.note else {})
        await self._registry.deny(denial, self._act("token.deny", f"token:{issuer}", said))
        return denial

    async def allow(self, issuer: str, claim: str, value: str) -> None:
        """Take it off the list again."""
        act = self._act("token.allow", f"token:{issuer}", {claim: _value(claim, value)})
        is_name = issuer.isprintable()  # Else no database takes it.
        if not is_name or not await self._registry.allow(issuer, claim, value, act):
            raise NotDone("That is not on the list of what is denied.")

    async def denials(self) -> list[Denial]:
        """All there are, oldest first."""
        return await self._registry.denials()


def _value(claim: str, text: str) -> str:
    if claim not in CLAIMS:
        raise NotDone(f"Tokens are denied by {' or '.join(CLAIMS)}.")
    if text.startswith(_TOKEN_BEGINS) and text.count(".") >= 2:
        raise NotDone(f"That is a whole token, not its {claim}; what that is, llamagate tokens explain tells.")
    if not 0 < len(text) <= LONGEST_VALUE or not text.isprintable():
        raise NotDone(f"The {claim} has to be 1 to {LONGEST_VALUE} characters that can be printed.")
    return text
