"""Text in the formats of the field: files here and elsewhere, and Hugging Face datasets."""
