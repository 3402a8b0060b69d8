"""What can the owner do, and how is it said without a terminal?

``Desk`` is all of it, and prints nothing. A file holds each noun: ``keys``, ``identities`` and ``certificates``, which
have most of their life in common (``credentials``), ``people`` who are users and teams, ``imports`` of many of them,
``tokens``, ``limits``, ``calls`` and the audit ``trail``. ``clerk`` is what each of them is given, and ``entries`` what
goes on record with something new. Whatever changes what is on record is an act in the trail.
"""

from proxy.admin.desk.calls import Calls
from proxy.admin.desk.certificates import Certificates
from proxy.admin.desk.identities import Identities
from proxy.admin.desk.imports import Imports
from proxy.admin.desk.keys import Keys
from proxy.admin.desk.limits import LimitsLeft
from proxy.admin.desk.people import People
from proxy.admin.desk.tokens import Tokens
from proxy.admin.desk.trail import Trail

__all__ = ["Desk"]


class Desk(Keys, Identities, Certificates, People, Imports, Tokens, Calls, LimitsLeft, Trail):
    """All that the commands can ask for. Raises StorageFailed and, where it cannot be done, NotDone."""
