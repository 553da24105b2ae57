"""Tests of tusd_s3: units beside the code, and the real server over real sockets."""
