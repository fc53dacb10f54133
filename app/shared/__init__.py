"""What the workers of a service share beside the library: a folder that is there for as long as the service runs."""
