"""The adapters, each against the real store."""
