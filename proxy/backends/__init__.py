"""Who answers?

``upstream`` is the one backend behind the gate, ``http`` speaks to it and ``catalogue`` remembers what it has.
``headers``, ``heads`` and ``trouble`` say, without I/O, what goes there, what may come back and what a refusal means;
``sockets`` makes the connections, and ``fetch`` asks somebody else.
"""
