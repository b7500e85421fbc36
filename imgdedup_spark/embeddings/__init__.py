"""Embeddings of pictures, and which of them are close in cosine."""
