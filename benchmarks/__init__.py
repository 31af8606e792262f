"""What a call costs, against other clients, and what is too long for the tests; see README.md in this folder."""
