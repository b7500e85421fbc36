"""Near-duplicates by Hamming distance, as Spark runs them."""
