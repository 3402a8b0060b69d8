"""What stands around the gate: the files of deploy/ and of the root, and the unit, as far as one machine shows them."""
