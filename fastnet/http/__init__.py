"""Plain HTTP: errors and cookies."""
