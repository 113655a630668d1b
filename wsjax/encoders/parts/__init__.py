"""Parts that several encoders are built of."""
