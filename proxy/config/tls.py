"""What may be said of TLS: the gate's own certificate, and whether clients may come with one of theirs."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from proxy.config.kinds import expanded


class HalfOfTls(ValueError):
    """Something was told that means nothing without something else."""


def _file(path: Path) -> Path:
    if "\0" in str(path) or str(path) == ".":
        raise ValueError("is not the path of a file")
    return expanded(path)


PemFile = Annotated[Path, AfterValidator(_file)]


class TlsSettings(BaseModel):
    """Without a certificate the gate speaks plain HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    certificate: PemFile | None = Field(
        default=None,
        description="A PEM file with the gate's certificate and those that vouch for it; with it the gate speaks TLS.",
        examples=["/etc/llamagate/fullchain.pem"],
    )
    key: PemFile | None = Field(
        default=None,
        description="A PEM file with the certificate's private key, for nobody's eyes but the gate's.",
        examples=["/etc/llamagate/privkey.pem"],
    )
    client_authorities: PemFile | None = Field(
        default=None,
        description="A PEM file with the authorities that vouch for clients' certificates; "
        "without it, clients are not asked for any.",
        examples=["/etc/llamagate/clients.pem"],
    )
    client_required: bool = Field(
        default=False,
        description="Whether a client without such a certificate is turned away, whatever else it has.",
        examples=[True],
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.certificate is None) is not (self.key is None):
            there, missing = ("a key", "certificate") if self.certificate is None else ("a certificate", "key")
            raise HalfOfTls(f"has {there} and no {missing}")
        if self.client_authorities is not None and self.certificate is None:
            raise HalfOfTls("has client_authorities, and without a certificate of the gate's own there is no TLS")
        if self.client_required and self.client_authorities is None:
            raise HalfOfTls("has client_required, and no client_authorities that could vouch for a client")
        return self
