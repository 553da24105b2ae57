"""Input that nobody sane would send, to every parser and to the socket of a running server.

`noise` makes junk and near misses, `fields` headers, `parsers` holds what must be true of each
parser. `messages` makes what goes over the wire, `exchange` sends it, `verdict` reads what came
back, `subject` is the server with the model of its state. Run a long one with

    python -m tests.fuzz --inputs 100000

The same seed makes the same inputs.
"""
