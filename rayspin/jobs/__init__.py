"""Jobs: their common interface (`stage`, `registry`), and a package for each kind of job."""
