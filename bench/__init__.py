"""What does the gate cost, beside a proxy that does nothing?

Three ways to the same answers are measured in turns, on loopback: the ``upstream`` stand-in alone, a ``bare`` proxy in
front of it, and the gate as it is really started. Then two parts of the gate, by themselves: what ``decisions`` about
limits take, and lines of the ``ledger``. What counts is the ratio, for machines differ. Nothing here asserts a time.
"""
