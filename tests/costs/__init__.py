"""What requests cost, counted and not timed, so that no other work on the machine changes it."""
