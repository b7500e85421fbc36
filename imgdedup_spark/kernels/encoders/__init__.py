"""Image encoders: pictures to vectors."""
