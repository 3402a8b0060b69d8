"""What can the owner do?

``desk`` is all of it and prints nothing: issue and revoke keys, look up calls, sum up what they cost. ``cli`` is the
desk at a terminal.
"""
