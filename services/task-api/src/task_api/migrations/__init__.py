"""The schema's history; they travel inside the wheel."""
