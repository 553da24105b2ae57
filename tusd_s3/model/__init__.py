"""The nouns: plain frozen values that every layer above speaks in. No I/O, no clock, no vendor."""
