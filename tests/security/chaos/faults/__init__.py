"""What is done to the gates and to what is around them; each function is one row of the table of faults."""
