"""Tasks of lm-evaluation-harness put to our models; needs `pip install 'rewarm[eval]'`."""
