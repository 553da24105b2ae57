"""The known clients as scripts: the requests of each, header by header and in its order, what it
checks in the answers, and what it does when an answer is not what it wants or does not come.

The scripts were written from what the clients do on the wire and in their sources; each names the
version it follows. They stand beside the tests with the clients themselves (`tests/clients`): a
script can lose an answer at an exact point, and covers clients that do not run here.
"""
