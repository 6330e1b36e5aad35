"""Tasks, series and sessions: rules alone; time and ids are passed in."""
