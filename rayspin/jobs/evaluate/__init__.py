"""Jobs that evaluate trained networks on held-out samples; one module for each experiment."""
