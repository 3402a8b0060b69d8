"""Who is who?

The wiring: the one folder that names concrete classes. It makes things and hands them on, and decides nothing.
``storage`` opens what is kept, ``limiting`` makes what counts, ``opening`` opens the gate over both, ``reloading``
puts a new configuration in place of the old, ``draining`` closes it in order, ``telling`` is what the admin listener
has to tell. ``serving`` does all of it until it is told to stop, in one process or in several: ``supervising`` keeps
these at work, ``workers`` is how each is made and obeys, ``sharing`` what they show one another, and ``gathering`` one
answer of them all. ``workshop`` is what the commands are given, ``demo`` one of them.
"""
