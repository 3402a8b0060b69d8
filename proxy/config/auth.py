"""What may be said of how proofs are taken."""

from pydantic import BaseModel, ConfigDict, Field

from proxy.config.kinds import Seconds


class AuthSettings(BaseModel):
    """How long what was true a while ago is still believed."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    outage: Seconds = Field(
        default=900.0,
        ge=0,
        le=7 * 86_400,
        description="How long callers who are known go on while the database cannot be reached.",
        examples=["15m"],
    )
    signature_age: Seconds = Field(
        default=120.0,
        ge=5,
        le=3600,
        description="How old a request may be that an Ollama client has signed.",
        examples=["2m"],
    )
