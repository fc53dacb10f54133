"""A history checker: clients note every request and its answer, and whatever no correct service could say is found."""
