"""Jobs of kinds "train-fcn" and "train-sr": training of networks with Ray Train."""
