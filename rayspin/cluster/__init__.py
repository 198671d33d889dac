"""Everything that runs on a cluster: Ray sessions, actors, training, sweeps, submission."""
