"""What is measured, a file for each group of figures: it takes notes, and makes sheets of them.

Whatever is compared is measured in turns, forth and back, within each round.
"""
