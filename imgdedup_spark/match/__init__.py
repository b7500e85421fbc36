"""Which rows have a twin, and which of the twins comes first."""
