"""Jobs of kinds "train-fcn" and "train-sr": `rayspin.training` over the workers of Ray Train."""
