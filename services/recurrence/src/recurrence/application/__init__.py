"""What the service does with what it hears: one module per use case, ports for everything outside."""
