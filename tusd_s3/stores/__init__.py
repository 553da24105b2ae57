"""Adapters of the ports to what keeps the bytes and the state: S3 and Redis."""
