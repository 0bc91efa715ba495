"""Pictures for the documentation, made of real runs; `./dev screenshots` writes them."""
