"""From a stream of chunks to parts and a tail: pure arithmetic, testable at every split point."""
