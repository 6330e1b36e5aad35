"""What implements the ports, named by technology."""
