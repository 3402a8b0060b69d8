"""Opens the gate's certificate as the gate would, and shows it to a client that knows the usual authorities."""

import ssl

from proxy.config.tls import TlsSettings
from proxy.doctor.certificates import Certificate
from proxy.errors import Misconfigured
from proxy.web.tls import Files, opened

_TURNS = 10
"""Of a handshake, which takes three."""


def look(told: TlsSettings, client: ssl.SSLContext | None = None) -> Certificate | None:
    """None where the gate speaks no TLS. ``client`` believes whom it believes; without one, the usual authorities."""
    if told.certificate is None or told.key is None:
        return None
    try:
        # Without those for clients: who is shown it here has no certificate.
        server, certificate = opened(Files(told.certificate, told.key))
        if told.client_authorities is not None:
            opened(Files(told.certificate, told.key, told.client_authorities))
    except Misconfigured as error:
        return Certificate(str(told.certificate), error.message)
    return Certificate(
        str(told.certificate), None, certificate.since, certificate.until, _distrust(server, client or _usual())
    )


def _usual() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False  # By which names the gate is called, it does not know.
    return context


def _distrust(server: ssl.SSLContext, client: ssl.SSLContext) -> str | None:
    """What the client says of the certificate, both ends being here; None where it believes it.

    That it has ended is told elsewhere.
    """
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_side=False),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(_TURNS):
        for end in list(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLCertVerificationError as error:
                return None if error.verify_code in _OF_TIME else error.verify_message
            except ssl.SSLError as error:
                return (error.reason or "the handshake fails").replace("_", " ").lower()
            ends.remove(end)
        if not ends:
            return None
    return "the handshake does not end"


_OF_TIME = (9, 10)
"""X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED."""
