"""The client side: a process of its own that writes prebuilt bytes to raw sockets.

It shares no process with what is measured or with what measures, and uses no HTTP library, so that
its own cost is small and the same for all servers.
"""
