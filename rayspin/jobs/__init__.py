"""What a job is, and a package for each kind of job, named as `kind` is in a job file."""
