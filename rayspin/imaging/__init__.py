"""Images of magnetic microscopes and files of other programs, as spins: reading, gray levels, edges and tiles."""
