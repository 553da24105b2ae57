"""The server as a client sees it: bytes on a socket, objects in a bucket."""
