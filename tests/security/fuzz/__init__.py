"""What happens to whoever reads what nobody would send? ``targets`` asks the parsers, ``socket`` the whole gate."""
