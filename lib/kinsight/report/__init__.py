"""The report: one self-contained HTML file a date, for those who use segments and audiences."""
