"""Puts an object and gets it again by Airflow's own hook, with the connection of the environment and nothing else."""

import sys

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

bucket, key = sys.argv[1:]
hook = S3Hook(aws_conn_id="aws_default")
hook.load_string("by Airflow", key, bucket)
print(hook.get_conn().meta.endpoint_url, hook.read_key(key, bucket))
