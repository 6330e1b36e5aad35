"""The use cases: announce a reminder, deliver it, follow its task, show the inbox, forget a person."""
