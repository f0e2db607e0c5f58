"""Stage `embed`: sequences and a model to one or more vectors a user, inside the executors."""
