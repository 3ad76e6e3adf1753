"""Floor 1: the values that flow through the house, and its errors. Imports nothing of ours."""
