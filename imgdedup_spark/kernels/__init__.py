"""Pictures, hashes and searches: plain NumPy, Numba, Pillow and Arrow. Nothing here knows Spark."""
