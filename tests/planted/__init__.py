"""Defects that are put into a copy of the code, one by one, to see whether a test notices."""
