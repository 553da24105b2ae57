"""Small programs of ours that start what has no command of its own."""
