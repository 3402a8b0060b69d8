"""Can what several gates count together be lost, doubled or mixed up?"""
