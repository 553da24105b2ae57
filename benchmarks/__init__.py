"""How much this server costs, beside others and beside nothing: see README.md here."""
