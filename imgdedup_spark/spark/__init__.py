"""Spark's session, settings, intermediate tables and joins."""
