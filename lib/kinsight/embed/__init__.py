"""Stage `embed`: sequences and a model to one vector a user, inside the executors."""
