"""The output folder and everything in it."""
