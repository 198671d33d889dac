"""Jobs of kind "tune": sweeps over the keys of a training job with Ray Tune."""
