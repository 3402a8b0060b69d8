"""Who answers?

``http`` speaks to a server over HTTP; ``headers`` and ``trouble`` say, without I/O, what goes there and what a refusal
that comes back means.
"""
