"""Looks at one thing at a time; not part of the table."""
