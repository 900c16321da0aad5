"""What browsers are served beside data: our page, and a viewer of others that was installed."""
