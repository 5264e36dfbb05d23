"""The demo: two patients' whole way on a running instance, checked at its end."""
