"""What can the owner do?

``desk`` is all of it and prints nothing: keys, identities, users and teams, the tokens of others, calls and what they
cost, limits, and the audit trail. ``rules`` are what will do there, ``amounts`` the limits that somebody has of their
own, ``subjects`` whom somebody means, ``importing`` a table of users and ``reports`` what can be asked of the ledger,
all pure; ``actor`` is who asks, and ``key_files`` where many keys are put at once. An ``office`` knows what is used;
``control`` is the socket by which a running gate is asked, ``remote`` the office behind it, ``reloading`` what becomes
of a changed configuration. ``refusals`` are what the desk says where it cannot. ``cli`` is the desk at a terminal.
"""
