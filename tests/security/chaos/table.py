"""The faults by their numbers."""

from tests.security.chaos.faults import gates, outside, redis, storage, upstream
from tests.security.chaos.scene import Fault

SOAK = 30
"""No fault of its own: the whole run, one fault after the other."""
FAULTS = (
    Fault(1, "a gate is killed", gates.killed, kills=True),
    Fault(2, "a gate hangs", gates.hung),
    Fault(3, "Redis is killed", redis.killed),
    Fault(4, "Redis stands still", redis.paused),
    Fault(5, "Redis is slow, breaks off, garbles", redis.slow),
    Fault(6, "Redis forgets, is full, refuses", redis.data),
    Fault(7, "Redis has no cluster", redis.cluster),
    Fault(8, "the upstream is down", upstream.down),
    Fault(9, "the upstream is killed amid streams", upstream.killed),
    Fault(10, "the upstream hangs", upstream.hangs),
    Fault(11, "the upstream talks garbage", upstream.garbage),
    Fault(12, "the upstream restarts", upstream.restarts),
    Fault(13, "clients vanish", gates.half_open),
    Fault(14, "the upstream vanishes", upstream.vanishes),
    Fault(15, "the disk is full", storage.full),
    Fault(16, "the database takes nothing", storage.locked),
    Fault(17, "the clock jumps", outside.clock),
    Fault(18, "no descriptors are left", gates.descriptors),
    Fault(19, "no memory is left", gates.memory),
    Fault(20, "the processor is taken", gates.starved),
    Fault(21, "a gate is told to end", gates.drained),
    Fault(22, "a gate is told to read again, and again", gates.reloaded),
    Fault(23, "a gate is replaced", gates.replaced),
    Fault(24, "an issuer's keys cannot be had", outside.issuer),
    Fault(25, "nobody reads the log", gates.deaf_log),
    Fault(26, "a name leads nowhere", outside.names),
    Fault(27, "certificates are no good", outside.certificates),
    Fault(28, "a gate cannot begin", gates.no_port),
    Fault(29, "a gate ends whenever it begins", gates.ends_at_once),
)
BY_NUMBER = {fault.number: fault for fault in FAULTS}
