"""Hashing as a Spark stage: rows in, one small print a row out."""
