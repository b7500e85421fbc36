"""Which vectors are close in cosine."""
