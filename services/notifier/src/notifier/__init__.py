"""How does the person hear of it? Inbox and mail, each asked for again before it is sent."""
