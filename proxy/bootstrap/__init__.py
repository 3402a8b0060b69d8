"""Who is who?

The wiring: the one folder that names concrete classes. It makes things and hands them on, and decides nothing.
``storage`` opens what is kept, ``limiting`` makes what counts, ``opening`` opens the gate over both, ``reloading``
puts a new configuration in place of the old, ``draining`` closes it in order, ``telling`` is what the admin listener
has to tell; ``workshop`` is what the commands are given, ``demo`` one of them.
"""
