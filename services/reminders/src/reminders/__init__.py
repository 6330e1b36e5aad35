"""When does a reminder fire? Owns the schedule documents and the due index."""
