"""From the wire to the application and back."""
