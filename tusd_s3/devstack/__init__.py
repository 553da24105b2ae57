"""A whole tusd-s3 on one machine: a real S3 and a real Redis, started and stopped with us.

`stores` starts the two servers, `command` puts the upload server and its page in front of them.
Nothing here is used by a production server.
"""
