"""Does the gate withstand those who mean it ill?"""
