"""From sequences to segments, audiences and the report."""
