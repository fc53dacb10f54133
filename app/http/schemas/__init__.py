"""What goes over HTTP: bodies of requests and answers; every field has a description and an example."""
