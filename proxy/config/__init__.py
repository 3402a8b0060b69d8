"""What were we told to be?

``written`` reads what people write for times and sizes; ``settings`` says what may be told; ``load`` puts the command
line, the environment and the file together, or tells every mistake at once; ``files`` is the only one to touch a disk.
"""
