"""What shows a developer what a server does: the page of an error, the dump of SIGUSR1, the detector of stalls."""
