"""Headers to typed messages, and outcomes to responses: no I/O, no clock, no vendor."""
