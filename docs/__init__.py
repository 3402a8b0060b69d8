"""What is there to know? The pages, and what writes those of them that follow from the code."""
