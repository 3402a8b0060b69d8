"""What were we told to be?

``written`` reads what people write for times and sizes, ``kinds`` what many settings are made of, ``addresses`` and
``redis_url`` where things are; ``settings``, ``plans`` and ``limits`` say what may be told, ``keys`` by which names.
``layers`` are the places that tell; ``load`` puts them together, or tells every mistake at once; ``files`` is the only
one to touch a disk.
"""
