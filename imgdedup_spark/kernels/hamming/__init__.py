"""Which hashes are within some bits of each other."""
