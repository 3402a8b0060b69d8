"""Are the operators told the truth, and nothing more?"""
