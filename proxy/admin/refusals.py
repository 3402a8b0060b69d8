"""What the desk says where it cannot do what it was asked."""

from proxy.errors import GateError


class NotDone(GateError):
    """The desk was asked for something it cannot do. Nothing was changed."""

    status = 400
    code = "not_done"
    default = "That cannot be done."


class NoSuchKey(NotDone):
    status = 404
    code = "no_such_key"
    default = "There is no such key."


class GateNotRunning(NotDone):
    """Only a running gate knows, and none listens."""

    status = 503
    code = "gate_not_running"
    default = "The gate does not run."


class NoAnswer(NotDone):
    """One of the gate's processes said nothing, or not in time."""

    status = 503
    code = "no_answer"
    default = "It does not answer."
