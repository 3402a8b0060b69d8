"""Does the database keep what is on record, and number what was done to it?"""
