"""Looking at a result: why a row went or stayed, the report, and decisions that people have reviewed."""
