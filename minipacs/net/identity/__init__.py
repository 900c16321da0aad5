"""Who somebody is: users with passcodes, bearers of tokens, and the rights that go with them."""
