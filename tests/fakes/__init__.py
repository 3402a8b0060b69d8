"""Stand-ins that satisfy our protocols."""
