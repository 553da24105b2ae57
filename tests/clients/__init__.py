"""Clients that people use, against the running server: what they send is not ours to choose."""
