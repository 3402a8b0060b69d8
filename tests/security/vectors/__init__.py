"""What may a client send? Bytes and what must come of them, in groups; ``CASES`` has them all."""

from tests.security.vectors import bodies, chunks, fields, host, lengths, proofs, request_line, routes, several
from tests.security.vectors.case import Case

CASES: tuple[Case, ...] = (
    *request_line.CASES,
    *fields.CASES,
    *host.CASES,
    *lengths.CASES,
    *chunks.CASES,
    *bodies.CASES,
    *several.CASES,
    *routes.CASES,
    *proofs.CASES,
)
