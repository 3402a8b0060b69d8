"""Does the database look as the code believes?"""
