"""What if several gates count together?

Each decision is one script, run by Redis on its own clock and by nothing else in between. ``bucket.lua`` is the
arithmetic of ``limits.bucket``, ``account.lua`` reads and writes what is kept of an account; each of the other scripts
is one thing that can be asked, and is sent with those two before it. ``scripts`` puts them together, ``store`` asks
them, ``link`` carries what is asked in one tick together, ``servers`` finds the server.

An account is a hash, ``…:b``, and a sorted set of leases, ``…:h``. Neither holds a name: names are hashed.

``first`` is no limit: it remembers for all gates what has come already.
"""
