"""May they ask this?

``endpoints`` is the table of what exists, ``models`` knows when two names mean one model, ``permit`` decides. ``knobs``
and ``images`` say what of a request may be sent, ``cost`` what that can cost at the most, ``management`` who may change
which models; ``members`` takes their JSON apart. Nothing in this package does I/O.
"""
