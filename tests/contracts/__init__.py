"""One suite for each protocol, run over all that implement it."""
