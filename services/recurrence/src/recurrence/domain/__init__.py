"""What the next occurrence is: pure rules, time passed in."""
