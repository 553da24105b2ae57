"""Pure ASGI layers around the application. They take plain values, never the settings."""
