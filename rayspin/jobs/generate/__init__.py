"""Jobs of kind "generate": generate, resume, verify and repair a dataset of annealed spin configurations."""
