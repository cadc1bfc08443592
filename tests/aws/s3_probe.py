"""Tries S3 operations with boto3, a standard AWS client, holding nothing but a Secret's data.

Reads {"secret": {...}, "endpoint": URL, "operations": [{"operation", "bucket"}]} from each line of standard input and prints a line
with a list of {"operation", "bucket", "allowed", "code"}.
"""

import json
import sys

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

KEY = "2026/report.txt"


def attempt(client, operation, bucket):
    if operation == "CreateBucket":
        region = client.meta.region_name
        if region == "us-east-1":
            client.create_bucket(Bucket=bucket)
        else:
            client.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": region})
    elif operation == "PutObject":
        client.put_object(Bucket=bucket, Key=KEY, Body=b"report")
    elif operation == "GetObject":
        if client.get_object(Bucket=bucket, Key=KEY)["Body"].read() != b"report":
            raise SystemExit("GetObject returned something else than was put")
    elif operation == "DeleteObject":
        client.delete_object(Bucket=bucket, Key=KEY)
    elif operation == "ListBucket":
        client.list_objects_v2(Bucket=bucket)
    elif operation == "RemoveBucket":
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for found in page.get("Contents", []):
                client.delete_object(Bucket=bucket, Key=found["Key"])
        client.delete_bucket(Bucket=bucket)
    else:
        raise SystemExit(f"unknown operation {operation}")


def answers(task):
    secret = task["secret"]
    client = boto3.client(
        "s3",
        region_name=secret["AWS_REGION"],
        endpoint_url=task["endpoint"],
        aws_access_key_id=secret["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=secret.get("AWS_SESSION_TOKEN"),
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )
    for wanted in task["operations"]:
        answer = dict(wanted, allowed=True, code="")
        try:
            attempt(client, wanted["operation"], wanted["bucket"])
        except ClientError as error:
            answer.update(allowed=False, code=error.response["Error"]["Code"])
        yield answer


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(list(answers(json.loads(line)))), flush=True)
