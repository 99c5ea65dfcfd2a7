"""Human motion: skeletons, clips from files and from rules, captions and speech, features and pictures of them."""
