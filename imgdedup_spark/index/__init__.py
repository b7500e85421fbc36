"""What was there before a run: the index, and the data sets named by --against."""
