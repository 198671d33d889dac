"""What the networks are good for: estimation, the recursive process, super-resolution; and their pictures."""
