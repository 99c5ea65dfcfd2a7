"""Human motion from text and speech."""
