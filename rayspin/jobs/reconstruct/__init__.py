"""Jobs that reconstruct fine spins from coarse ones, and that measure how wrong assumptions change the result."""
