"""Every refusal and failure as an HTTP answer, in the dialect of the route that was asked."""

from proxy.dialects.table import DIALECTS
from proxy.errors import GateError
from proxy.policy import endpoints

JSON = "application/json"


def rendered(error: GateError, path: str, call_id: str) -> tuple[int, dict[str, str], bytes]:
    """Status, header fields and body. The message is one of ours and holds nothing that the client sent."""
    dialect = DIALECTS[endpoints.tongue_of(path)]
    headers = {"Content-Type": JSON, "Cache-Control": "no-store", **error.headers}
    body = dialect.refusal(error.status, error.code, error.message, call_id, error.counts, error.param)
    return error.status, headers, body
