"""The parts of the report: frames in, figures, tables and sentences out. No Spark."""
