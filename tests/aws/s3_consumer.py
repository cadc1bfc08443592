"""A workload that puts and gets objects with boto3, over and over, with the key in a mounted credentials file.

Its one argument is {"credentials": PATH, "endpoint": URL, "region", "bucket", "report": PATH, "stop": PATH}. It looks at
the file before each request, as a mounted Secret changes in place, and goes on until the stop file appears. With "process"
in the place of "credentials", boto3 itself looks at that file, when it takes its session to end soon. The report is {"requests": N,
"failures": {code: N}, "keys": {access key id: requests that succeeded}}; without a file for it, it is printed every second, for good.
"pause" is the time between two exchanges, in seconds, where that is to be another than usual.
"""

import configparser
import json
import os
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

PAUSE = 0.06


class Consumer:
    def __init__(self, task):
        self.task = task
        self.text = None
        self.key = None
        self.client = None
        self.report = {"requests": 0, "failures": {}, "keys": {}}
        self.printed = time.monotonic()

    def reload(self):
        if "process" in self.task:
            return self.reload_by_itself()
        with open(self.task["credentials"]) as file:
            text = file.read()
        if text == self.text:
            return
        credentials = configparser.ConfigParser()
        credentials.read_string(text)
        profile = credentials["default"]
        self.text, self.key = text, profile["aws_access_key_id"]
        self.client = boto3.client(
            "s3",
            region_name=self.task["region"],
            endpoint_url=self.task["endpoint"],
            aws_access_key_id=self.key,
            aws_secret_access_key=profile["aws_secret_access_key"],
            aws_session_token=profile.get("aws_session_token"),
            # A retry would hide what the test is about.
            config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
        )

    def reload_by_itself(self):
        """One client for good, as a workload has it; what it signs with is told by boto3."""
        if self.client is None:
            session = boto3.Session(region_name=self.task["region"])
            self.session = session.get_credentials()
            self.client = session.client(
                "s3",
                endpoint_url=self.task["endpoint"],
                config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
            )
        self.key = self.session.get_frozen_credentials().access_key

    def attempt(self, operation):
        self.reload()
        self.report["requests"] += 1
        try:
            operation(self.client)
            counts, what = self.report["keys"], self.key
        except ClientError as error:
            counts, what = self.report["failures"], error.response["Error"]["Code"]
        except BotoCoreError as error:
            counts, what = self.report["failures"], type(error).__name__
        counts[what] = counts.get(what, 0) + 1

    def write_report(self):
        if "report" not in self.task:
            if time.monotonic() - self.printed >= 1:
                print(json.dumps(self.report), flush=True)
                self.printed = time.monotonic()
            return
        part = self.task["report"] + ".part"
        with open(part, "w") as file:
            json.dump(self.report, file)
        os.replace(part, self.task["report"])

    def run(self):
        bucket = self.task["bucket"]
        number = 0
        while "stop" not in self.task or not os.path.exists(self.task["stop"]):
            number += 1
            name, body = f"objects/{number % 16}", b"%d" % number

            def put(client):
                client.put_object(Bucket=bucket, Key=name, Body=body)

            def get(client):
                client.get_object(Bucket=bucket, Key=name)["Body"].read()

            self.attempt(put)
            self.attempt(get)
            self.write_report()
            time.sleep(self.task.get("pause", PAUSE))
        self.write_report()


if __name__ == "__main__":
    Consumer(json.loads(sys.argv[1])).run()
