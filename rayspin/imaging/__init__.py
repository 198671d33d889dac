"""Images of magnetic microscopes and files of other programs, as spins: reading, grey levels, edges and tiles."""
