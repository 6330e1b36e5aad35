"""What a notification is, when it still matters, what it says and when it is tried again. Pure; time is passed in."""
