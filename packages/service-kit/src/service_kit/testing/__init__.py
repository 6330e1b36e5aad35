"""What tests of every service use: fakes that behave like the real thing, real infrastructure, tokens."""
