"""The harness: real stores, server processes, a client that hides nothing, faulty networks."""
