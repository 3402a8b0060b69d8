"""May they ask this?

``endpoints`` is the table of what exists, ``models`` knows when two names mean one model, ``permit`` decides.
Nothing in this package does I/O.
"""
