"""Near-duplicates by cosine, as Spark runs them."""
