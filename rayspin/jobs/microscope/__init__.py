"""Jobs of kind "microscope-images": pictures of a microscope, synthetic ones or a user's own."""
