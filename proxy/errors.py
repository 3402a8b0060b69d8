"""Every way we say no, named by whose fault it is. Each knows its status and a stable code; its text is safe to show.

GateError
├── Refused                     the caller's fault, or the owner's decision
│   ├── NotUnderstood           400  the request makes no sense
│   │   ├── BodyTooLarge        413
│   │   ├── EncodingUnknown     415
│   │   ├── BodyTooSlow         408
│   │   ├── KnobRefused         400  the plan, or Ollama, does not take this value
│   │   └── NeverFits           400  more tokens than its limits ever allow at once
│   │       └── PromptNeverFits 413
│   ├── TwoCredentials          400
│   ├── Unauthenticated         401
│   ├── Forbidden               403
│   │   └── PullTooLarge        403
│   ├── NoSuchRoute             404
│   ├── WrongMethod             405
│   ├── RateLimited             429  come back later
│   │   └── TooManyFailures     429  too many calls from one address that proved nothing
│   └── NoSuchModel             404  absent and forbidden alike
├── BackendFailed               502  Ollama's fault
│   ├── BackendRefused          its own status, where that makes sense
│   │   └── ModelServerBusy     503
│   ├── BackendDown             503
│   ├── BackendSilent           504
│   └── BackendBrokeOff         502  after the first byte: no status can be told any more
│       └── Truncated           it ended politely, but without its last words
├── ClientGone                  nobody is left to be told
│   └── ClientStalled
├── AuthUnavailable             503  nobody can tell at the moment whether a credential is good
├── StorageFailed               503  our own database's fault
├── LedgerFull                  503  there is no room for another line
├── Died                        500  the gate itself, under a call
├── GateStopping                503  the gate is being stopped, and waits for this call no longer
├── StoreFailed                 503  that of what counts the limits
└── Misconfigured               the owner's fault, told at the command line
"""

import enum
import re
from typing import ClassVar

LONGEST_MESSAGE = 500
_ON_DISK = re.compile(r"(?:[A-Za-z]:\\|~?/)(?:[^\s\"':]+[\\/])[^\s\"':]*")
_ADDRESS = re.compile(r"\b[a-z]+://\S+")


def safe_to_show(text: str) -> str:
    """A backend's words without what is nobody's business: where files lie, addresses, what a terminal would obey."""
    harmless = _ADDRESS.sub("(an address)", _ON_DISK.sub("(a file)", text[:LONGEST_MESSAGE]))
    return "".join(letter if letter.isprintable() else " " for letter in harmless)


class GateError(Exception):
    """Whatever ends a call or a command early, with a message that is safe to show."""

    status: int = 500
    code: str = "internal_error"
    default: ClassVar[str] = "The gate failed on this request."
    param: str | None = None
    """Which member of the request it is about, where that is known. Like the message, it is safe to show."""

    def __init__(self, message: str | None = None) -> None:
        self.message = message or self.default
        super().__init__(self.message)

    @property
    def headers(self) -> dict[str, str]:
        """Header fields that belong to the refusal."""
        return {}

    @property
    def reason(self) -> str:
        """What the ledger says: the code, or something more exact that is the owner's to know."""
        return self.code

    @property
    def counts(self) -> str | None:
        """What there was too much of, in OpenAI's words: ``requests`` or ``tokens``."""
        return None


class Refused(GateError):
    status = 400
    code = "refused"


class NotUnderstood(Refused):
    status = 400
    code = "invalid_request"
    default = "The request could not be understood."

    def __init__(self, message: str | None = None, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class BodyTooLarge(NotUnderstood):
    status = 413
    code = "body_too_large"
    default = "The request body is larger than this gate accepts."


class EncodingUnknown(NotUnderstood):
    status = 415
    code = "unsupported_encoding"
    default = "The request body must be sent plain or with 'Content-Encoding: zstd'; no other coding is accepted."

    @property
    def headers(self) -> dict[str, str]:
        return {"Accept-Encoding": "zstd, identity"}


class BodyTooSlow(NotUnderstood):
    status = 408
    code = "body_too_slow"
    default = "The request body did not arrive in time."


class KnobRefused(NotUnderstood):
    code = "knob_refused"
    default = "The request sets something that this key's plan does not allow."


class NeverFits(NotUnderstood):
    code = "tokens_exceed_limit"
    default = "The request may cost more tokens than its limits ever allow at once."


class PromptNeverFits(NeverFits):
    status = 413
    code = "prompt_exceeds_limit"


class TwoCredentials(Refused):
    """RFC 6750 §2: a client must not use more than one method to send its token."""

    status = 400
    code = "two_credentials"
    default = "Send exactly one credential: Authorization, x-api-key or a key in the path, once."


class Why(enum.StrEnum):
    """Why what was shown proves nothing: for the owner's eyes, in ledger and log, and never for the caller's."""

    NOTHING = "nothing_shown"
    PLACEHOLDER = "placeholder"
    MALFORMED = "malformed"
    UNKNOWN = "unknown"
    """No such key or identity, or another secret than the one on record."""
    EXPIRED = "expired"
    REVOKED = "revoked"
    SUSPENDED = "suspended"
    """The key or identity."""
    USER_SUSPENDED = "user_suspended"
    TEAM_SUSPENDED = "team_suspended"
    DENIED = "denied"
    """A token that the owner has put on the list, or one of such a subject."""
    NOT_YET = "not_yet_valid"
    TOO_LONG = "lives_too_long"
    WRONG_ISSUER = "wrong_issuer"
    WRONG_AUDIENCE = "wrong_audience"
    WRONG_ALGORITHM = "wrong_algorithm"
    WRONG_TYPE = "wrong_type"
    WRONG_KEY = "wrong_key"
    """A token names a key that its issuer does not have."""
    WRONG_CLAIMS = "wrong_claims"
    """A claim is missing, or says what makes no sense."""
    WRONG_SIGNATURE = "wrong_signature"
    TOO_OLD = "too_old"
    """A signed request from another time than now."""
    REPLAYED = "replayed"
    """A signed request that was seen before."""


class Unauthenticated(Refused):
    """Whatever is wrong with it, it is one and the same to the caller."""

    status = 401
    code = "invalid_api_key"
    default = "A valid API key is required: send it as 'Authorization: Bearer <key>' or 'x-api-key: <key>'."

    def __init__(self, why: Why = Why.NOTHING, message: str | None = None) -> None:
        super().__init__(message)
        self.why = why

    @property
    def headers(self) -> dict[str, str]:
        """RFC 6750 §3.1: no error code for who has shown nothing."""
        error = "" if self.why is Why.NOTHING else ', error="invalid_token"'
        return {"WWW-Authenticate": f'Bearer realm="llamagate"{error}'}

    @property
    def reason(self) -> str:
        return f"{self.code}.{self.why}"


class Forbidden(Refused):
    status = 403
    code = "forbidden"
    default = "This key may not do that."


class PullTooLarge(Forbidden):
    code = "pull_too_large"
    default = "This model is larger than this key's plan may pull."


class NoSuchRoute(Refused):
    status = 404
    code = "no_such_route"
    default = "There is no such route here."


class WrongMethod(Refused):
    status = 405
    code = "wrong_method"
    default = "This route does not take that method."

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__()
        self.allowed = allowed

    @property
    def headers(self) -> dict[str, str]:
        return {"Allow": ", ".join(self.allowed)}


class NoSuchModel(Refused):
    status = 404
    code = "model_not_found"
    default = "There is no such model for this key."


SDK_WAITS_SECONDS = 60
"""The clients of OpenAI and Anthropic wait no longer than that for one retry, and else try sooner, in vain."""


class RateLimited(Refused):
    """RFC 6585 §4. ``Retry-After`` (RFC 9110 §10.2.3) has whole seconds, so clients are told milliseconds too."""

    status = 429
    code = "rate_limit_exceeded"
    default = "Too many requests. Try again later."

    def __init__(self, message: str, *, wait: int, counts: str = "requests", limit: str = "") -> None:
        """``wait`` is in microseconds; ``limit`` names the limit, for the ledger."""
        super().__init__(message)
        self.wait = wait
        self.limit = limit
        self._counts = counts

    @property
    def headers(self) -> dict[str, str]:
        milliseconds = -(-self.wait // 1000)
        told = {"Retry-After": str(max(1, -(-milliseconds // 1000))), "Retry-After-Ms": str(max(1, milliseconds))}
        if milliseconds > SDK_WAITS_SECONDS * 1000:
            told["X-Should-Retry"] = "false"
        return told

    @property
    def reason(self) -> str:
        return self.limit or self.code

    @property
    def counts(self) -> str | None:
        return self._counts


class TooManyFailures(RateLimited):
    """Says nothing of whether the credential was any good: one that is good is let in from everywhere."""

    code = "too_many_failures"

    def __init__(self, *, wait: int) -> None:
        super().__init__("Too many calls from this address had no valid API key. Try again later.", wait=wait)


class BackendFailed(GateError):
    status = 502
    code = "backend_failed"
    default = "The model server gave an answer that the gate cannot pass on."


class BackendRefused(BackendFailed):
    """The backend said no in words of its own."""

    code = "backend_refused"

    def __init__(self, status: int, message: str | None = None) -> None:
        super().__init__(message)
        self.status = status


class ModelServerBusy(BackendRefused):
    """Ollama's queue is full; it says so without saying when to come back."""

    code = "model_server_busy"
    default = "The model server is busy. Try again shortly."

    def __init__(self) -> None:
        super().__init__(503)

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "5"}


class BackendDown(BackendFailed):
    status = 503
    code = "backend_down"
    default = "The model server does not answer. Its owner has to start it."

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "5"}


class BackendSilent(BackendFailed):
    status = 504
    code = "backend_silent"
    default = "The model server took too long."


class BackendBrokeOff(BackendFailed):
    code = "backend_broke_off"
    default = "The model server broke off in the middle of its answer."


class Truncated(BackendBrokeOff):
    code = "truncated"
    default = "The answer ended before it was complete."


class ClientGone(GateError):
    status = 499
    code = "client_left"
    default = "The client closed the connection."


class ClientStalled(ClientGone):
    code = "client_stalled"
    default = "The client stopped reading."


class AuthUnavailable(GateError):
    code = "auth_unavailable"
    status = 503
    default = "The gate cannot tell at the moment whether this credential is good."

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "5"}


class StorageFailed(GateError):
    status = 503
    code = "storage_failed"
    default = "The gate cannot reach its records at the moment."

    @property
    def why(self) -> str:
        """What the database said, for the operator: its first line, for further ones may quote what was to be kept."""
        said = getattr(self.__cause__, "orig", None) or self.__cause__
        return f"{type(said).__name__}: {said}".splitlines()[0][:200]

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "5"}


class LedgerFull(GateError):
    status = 503
    code = "ledger_full"
    default = "The gate cannot keep a record of this call at the moment, so it does not take it."

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "5"}


class Died(GateError):
    """Nobody hears of it but the ledger."""

    code = "gate_died"
    default = "The gate died under this call."


class GateStopping(GateError):
    """Whoever asks again finds the gate that takes this one's place."""

    status = 503
    code = "gate_stopping"
    default = "The gate is being stopped. Try again shortly."

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "5"}


class StoreFailed(GateError):
    """The store did not answer, or not in time. Whether it did what it was asked is not known."""

    code = "limits_unavailable"
    status = 503
    default = "The gate cannot tell at the moment whether this call is within its limits."

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"}


class Misconfigured(GateError):
    code = "misconfigured"
    default = "The configuration is not usable."
