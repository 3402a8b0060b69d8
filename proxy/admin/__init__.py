"""What can the owner do?

``desk`` is all of it and prints nothing: issue and revoke keys, look up calls, sum up what they cost, see and reset
limits. ``amounts`` are a key's own limits, ``subjects`` whom somebody means and ``reports`` what can be asked of the
ledger, all pure. An ``office`` knows what is used; ``control`` is the socket by which a running gate is asked,
``remote`` the office behind it, ``reloading`` what becomes of a changed configuration. ``refusals`` are what the desk
says where it cannot. ``cli`` is the desk at a terminal.
"""
