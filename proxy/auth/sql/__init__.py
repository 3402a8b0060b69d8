"""How does a database keep what is on record? SQLite and PostgreSQL by the same statements.

``tables`` is what it looks like, ``rows`` turns nouns into rows and back, ``transactions`` are those in which it is
read and changed, ``registry`` finds and changes.
"""

from proxy.auth.sql.registry import SqlRegistry as SqlRegistry
from proxy.auth.sql.tables import metadata as metadata
