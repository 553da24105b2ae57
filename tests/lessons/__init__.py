"""How resumable upload servers fail: for each way, tests that fail if this server does it too.

The modules are numbered by the lesson they are about.
"""
