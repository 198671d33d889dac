"""Jobs of kind "generate": a dataset of annealed spin configurations, made, resumed, verified and repaired."""
