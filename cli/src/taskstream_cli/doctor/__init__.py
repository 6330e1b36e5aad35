"""`taskstream doctor`: look at every part of an installation and say, of what is wrong, what to do."""
