"""Every line of the protocol once more, in bytes that a test writes to a socket itself.

Nothing here goes through a client, not even that of the other tests: see `tests/protocol_lines.md`
and the test that holds this package to it.
"""
