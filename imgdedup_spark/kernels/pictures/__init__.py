"""From values of a column to pixels."""
