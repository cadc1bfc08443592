"""A workload: writes and reads an object with the credentials that are mounted, over and over, until it is told to stop.

usage: s3_consumer.py FOLDER BUCKET KEY STOP_FILE

FOLDER is a mounted Secret of the format aws-env: one file a key. The credentials are read again for each round, as a
client does that watches its files; the endpoint is in the Secret, too. Prints one JSON object: requests, and failures by
error code.
"""

import collections
import json
import pathlib
import sys
import time

import boto3
import botocore.config
import botocore.exceptions

folder, bucket, key, stop = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4])
config = botocore.config.Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1})


def client(values):
    return boto3.client(
        "s3",
        endpoint_url=values.get("AWS_ENDPOINT_URL_S3") or values.get("AWS_ENDPOINT_URL"),
        region_name=values["AWS_REGION"],
        aws_access_key_id=values["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
        config=config,
    )


def mounted():
    current = (folder / "..data").resolve()
    return {path.name: path.read_text() for path in current.iterdir()}


requests, failures, keys = 0, collections.Counter(), []
values, s3 = None, None
while not stop.exists():
    found = mounted()
    if found != values:
        values, s3 = found, client(found)
        keys.append(values["AWS_ACCESS_KEY_ID"])
    for call in (lambda: s3.put_object(Bucket=bucket, Key=key, Body=b"1"), lambda: s3.get_object(Bucket=bucket, Key=key)):
        requests += 1
        try:
            call()
        except botocore.exceptions.ClientError as error:
            failures[error.response["Error"]["Code"]] += 1
        except botocore.exceptions.BotoCoreError as error:
            failures[type(error).__name__] += 1
    (folder / "at-work").touch()
    if failures:
        (folder / "failed").touch()
    time.sleep(0.02)
print(json.dumps({"requests": requests, "failures": failures, "keys": list(dict.fromkeys(keys))}))
