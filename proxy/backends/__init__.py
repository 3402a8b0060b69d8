"""Who answers?

``upstream`` is the one backend behind the gate, ``http`` speaks to it and ``catalogue`` remembers what it has.
``headers`` and ``trouble`` say, without I/O, what goes there and what a refusal that comes back means.
"""
