"""What runs inside the executors for stage `sequence`: Arrow in, Arrow out, no Spark."""
