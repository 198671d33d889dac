"""Jobs that apply trained networks to held-out fields; a module for each experiment."""
