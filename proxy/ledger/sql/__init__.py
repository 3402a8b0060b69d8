"""How does a database keep it? SQLite and PostgreSQL by the same statements.

``tables`` is what it looks like, ``book`` writes and finds entries, ``sums`` answers for what they cost together,
``times`` are the days and quarters these are of. ``writing`` is what is done to write, in order, ``rows`` the rows that
are written, ``many`` the statements for many of them, and ``one_hop`` brings it all to an SQLite file at once.
"""

from proxy.ledger.sql.book import SqlBook as SqlBook
from proxy.ledger.sql.tables import metadata as metadata
