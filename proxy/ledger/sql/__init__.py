"""How does a database keep it? SQLite and PostgreSQL by the same statements.

``tables`` is what it looks like, ``book`` writes and finds entries, ``sums`` answers for what they cost together,
``times`` are the days and quarters these are of, ``many`` writes many rows at little cost.
"""

from proxy.ledger.sql.book import SqlBook as SqlBook
from proxy.ledger.sql.tables import metadata as metadata
