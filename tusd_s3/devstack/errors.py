"""What a developer is told when the local servers cannot run."""


class DevStackError(Exception):
    """The local stack cannot start; the message is one sentence for the developer."""
