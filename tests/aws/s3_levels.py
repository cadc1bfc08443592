"""Tries every operation of the level matrix with boto3, a standard AWS client, once for each holder of a key.

Reads {"endpoint", "region", "other": BUCKET, "admin": SECRET, "subjects": [{"name", "bucket", "secret": SECRET}],
"operations": [NAME]} from standard input and prints {subject: {operation: answer}}. An answer is "allowed", "denied", or
the error code where the operation failed otherwise; "unprepared CODE" where the administrator could not set it up. Each
subject has a bucket to itself, since what one does would change what the next one finds.
"""

import json
import sys
import urllib.error
import urllib.request

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

INSIDE, OUTSIDE, COPY_INSIDE, COPY_OUTSIDE = "2026/report.txt", "private/report.txt", "2026/copy.txt", "private/copy.txt"
PREFIX, OTHER_PREFIX = "2026/", "private/"
BODY = b"report"
TAGS = {"TagSet": [{"Key": "team", "Value": "a"}]}
DENIALS = {"AccessDenied", "403", "Forbidden"}


class Refused(Exception):
    """The server answered with an error that boto3 does not raise."""


def client(task, secret):
    return boto3.client(
        "s3",
        region_name=task["region"],
        endpoint_url=task["endpoint"],
        aws_access_key_id=secret["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=secret["AWS_SECRET_ACCESS_KEY"],
        # A retry would only repeat an answer that is wanted as it is.
        config=Config(s3={"addressing_style": "path"}, signature_version="s3v4", retries={"total_max_attempts": 1}),
    )


class Stage:
    """One subject: its client, its bucket, and the administrator who prepares each attempt."""

    def __init__(self, task, admin, subject):
        self.admin, self.other = admin, task["other"]
        self.user, self.bucket = client(task, subject["secret"]), subject["bucket"]
        self.new = self.bucket + "-new"
        self.at = {"Bucket": self.bucket}
        self.inside = {"Bucket": self.bucket, "Key": INSIDE}
        self.outside = {"Bucket": self.bucket, "Key": OUTSIDE}
        self.elsewhere = {"Bucket": self.other, "Key": INSIDE}

    # What the administrator does beforehand.

    def put(self, key=INSIDE):
        return self.admin.put_object(Bucket=self.bucket, Key=key, Body=BODY)

    def put_version(self):
        return self.put()["VersionId"]

    def start_upload(self):
        return self.admin.create_multipart_upload(**self.inside)["UploadId"]

    def put_policy(self):
        self.admin.put_bucket_policy(**self.at, Policy=self.policy())

    def empty(self):
        versions = self.admin.list_object_versions(**self.at)
        for version in versions.get("Versions", []) + versions.get("DeleteMarkers", []):
            self.admin.delete_object(**self.at, Key=version["Key"], VersionId=version["VersionId"])
        for upload in self.admin.list_multipart_uploads(**self.at).get("Uploads", []):
            self.admin.abort_multipart_upload(**self.at, Key=upload["Key"], UploadId=upload["UploadId"])

    # And afterwards.

    def remove_policy(self):
        self.admin.delete_bucket_policy(**self.at)

    def remove_new(self):
        try:
            self.admin.delete_bucket(Bucket=self.new)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchBucket":
                raise

    # What takes more than one call.

    def policy(self):
        statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
        statement["Resource"] = f"arn:aws:s3:::{self.bucket}/*"
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    def get(self, **what):
        if self.user.get_object(**what)["Body"].read() != BODY:
            raise Refused("AnotherBody")

    def get_presigned(self):
        url = self.user.generate_presigned_url("get_object", Params=self.inside)
        try:
            with urllib.request.urlopen(url) as answer:
                if answer.read() != BODY:
                    raise Refused("AnotherBody")
        except urllib.error.HTTPError as error:
            raise Refused("AccessDenied" if b"<Code>AccessDenied</Code>" in error.read() else str(error.code)) from error

    def list(self, **what):
        if not self.user.list_objects_v2(**what).get("Contents"):
            raise Refused("EmptyList")

    def list_versions(self, **what):
        if not self.user.list_object_versions(**what).get("Versions"):
            raise Refused("EmptyList")

    def list_uploads(self):
        if not self.user.list_multipart_uploads(**self.at, Prefix=PREFIX).get("Uploads"):
            raise Refused("EmptyList")

    def delete_several(self):
        answer = self.user.delete_objects(**self.at, Delete={"Objects": [{"Key": INSIDE}]})
        for error in answer.get("Errors", []):
            raise Refused(error["Code"])

    def multipart(self, **where):
        upload = self.user.create_multipart_upload(**where)["UploadId"]
        part = self.user.upload_part(**where, UploadId=upload, PartNumber=1, Body=BODY)
        parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
        self.user.complete_multipart_upload(**where, UploadId=upload, MultipartUpload=parts)

    def copy(self, source, key):
        self.user.copy_object(**self.at, Key=key, CopySource=source)


def nothing(_stage):
    return None


# By name: what the administrator prepares, the attempt with what came of that, and what the administrator clears away.
OPERATIONS = {
    "list-buckets": (nothing, lambda s, _: s.user.list_buckets()),
    "location": (nothing, lambda s, _: s.user.get_bucket_location(**s.at)),
    "head-bucket": (nothing, lambda s, _: s.user.head_bucket(**s.at)),
    "list-all": (Stage.put, lambda s, _: s.list(**s.at)),
    "list-prefix": (Stage.put, lambda s, _: s.list(**s.at, Prefix=PREFIX)),
    "list-other-prefix": (lambda s: s.put(OUTSIDE), lambda s, _: s.list(**s.at, Prefix=OTHER_PREFIX)),
    "list-versions": (Stage.put, lambda s, _: s.list_versions(**s.at, Prefix=PREFIX)),
    "list-all-versions": (Stage.put, lambda s, _: s.list_versions(**s.at)),
    "list-uploads": (Stage.start_upload, lambda s, _: s.list_uploads()),
    "get": (Stage.put, lambda s, _: s.get(**s.inside)),
    "get-outside": (lambda s: s.put(OUTSIDE), lambda s, _: s.get(**s.outside)),
    "get-presigned": (Stage.put, lambda s, _: s.get_presigned()),
    "head": (Stage.put, lambda s, _: s.user.head_object(**s.inside)),
    "head-outside": (lambda s: s.put(OUTSIDE), lambda s, _: s.user.head_object(**s.outside)),
    "get-attributes": (
        Stage.put,
        lambda s, _: s.user.get_object_attributes(**s.inside, ObjectAttributes=["ObjectSize"]),
    ),
    "get-version": (Stage.put_version, lambda s, version: s.get(**s.inside, VersionId=version)),
    "get-tags": (Stage.put, lambda s, _: s.user.get_object_tagging(**s.inside)),
    "get-object-acl": (Stage.put, lambda s, _: s.user.get_object_acl(**s.inside)),
    "put": (nothing, lambda s, _: s.user.put_object(**s.inside, Body=BODY)),
    "put-outside": (nothing, lambda s, _: s.user.put_object(**s.outside, Body=BODY)),
    "multipart": (nothing, lambda s, _: s.multipart(**s.inside)),
    "multipart-outside": (nothing, lambda s, _: s.multipart(**s.outside)),
    "list-parts": (Stage.start_upload, lambda s, upload: s.user.list_parts(**s.inside, UploadId=upload)),
    "abort": (Stage.start_upload, lambda s, upload: s.user.abort_multipart_upload(**s.inside, UploadId=upload)),
    "copy": (Stage.put, lambda s, _: s.copy(s.inside, COPY_INSIDE)),
    "copy-out": (Stage.put, lambda s, _: s.copy(s.inside, COPY_OUTSIDE)),
    "copy-in": (lambda s: s.put(OUTSIDE), lambda s, _: s.copy(s.outside, COPY_INSIDE)),
    "put-tags": (Stage.put, lambda s, _: s.user.put_object_tagging(**s.inside, Tagging=TAGS)),
    "put-object-acl": (Stage.put, lambda s, _: s.user.put_object_acl(**s.inside, ACL="public-read")),
    "put-public": (nothing, lambda s, _: s.user.put_object(**s.inside, Body=BODY, ACL="public-read")),
    "delete": (Stage.put, lambda s, _: s.user.delete_object(**s.inside)),
    "delete-outside": (lambda s: s.put(OUTSIDE), lambda s, _: s.user.delete_object(**s.outside)),
    "delete-several": (Stage.put, lambda s, _: s.delete_several()),
    "delete-version": (Stage.put_version, lambda s, version: s.user.delete_object(**s.inside, VersionId=version)),
    "get-versioning": (nothing, lambda s, _: s.user.get_bucket_versioning(**s.at)),
    "put-versioning": (
        nothing,
        lambda s, _: s.user.put_bucket_versioning(**s.at, VersioningConfiguration={"Status": "Enabled"}),
    ),
    "put-lifecycle": (
        nothing,
        lambda s, _: s.user.put_bucket_lifecycle_configuration(
            **s.at,
            LifecycleConfiguration={
                "Rules": [
                    {
                        "ID": "uploads",
                        "Status": "Enabled",
                        "Filter": {"Prefix": ""},
                        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
                    }
                ]
            },
        ),
    ),
    "put-cors": (
        nothing,
        lambda s, _: s.user.put_bucket_cors(
            **s.at, CORSConfiguration={"CORSRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["https://a.test"]}]}
        ),
    ),
    "put-bucket-tags": (nothing, lambda s, _: s.user.put_bucket_tagging(**s.at, Tagging=TAGS)),
    "put-encryption": (
        nothing,
        lambda s, _: s.user.put_bucket_encryption(
            **s.at,
            ServerSideEncryptionConfiguration={
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        ),
    ),
    "get-bucket-acl": (nothing, lambda s, _: s.user.get_bucket_acl(**s.at)),
    "get-policy": (Stage.put_policy, lambda s, _: s.user.get_bucket_policy(**s.at), Stage.remove_policy),
    "put-policy": (nothing, lambda s, _: s.user.put_bucket_policy(**s.at, Policy=s.policy()), Stage.remove_policy),
    "delete-policy": (Stage.put_policy, lambda s, _: s.user.delete_bucket_policy(**s.at), Stage.remove_policy),
    "put-bucket-acl": (nothing, lambda s, _: s.user.put_bucket_acl(**s.at, ACL="private")),
    "put-ownership": (
        nothing,
        lambda s, _: s.user.put_bucket_ownership_controls(
            **s.at, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
        ),
    ),
    "put-access-block": (
        nothing,
        lambda s, _: s.user.put_public_access_block(
            **s.at, PublicAccessBlockConfiguration={"BlockPublicAcls": False, "BlockPublicPolicy": False}
        ),
    ),
    "put-website": (
        nothing,
        lambda s, _: s.user.put_bucket_website(
            **s.at, WebsiteConfiguration={"IndexDocument": {"Suffix": "index.html"}}
        ),
    ),
    "other-location": (nothing, lambda s, _: s.user.get_bucket_location(Bucket=s.other)),
    "other-list": (nothing, lambda s, _: s.list(Bucket=s.other, Prefix=PREFIX)),
    "other-get": (nothing, lambda s, _: s.get(**s.elsewhere)),
    "other-put": (nothing, lambda s, _: s.user.put_object(**s.elsewhere, Body=BODY)),
    "other-copy": (nothing, lambda s, _: s.copy(s.elsewhere, COPY_INSIDE)),
    "create-bucket": (nothing, lambda s, _: s.user.create_bucket(Bucket=s.new), Stage.remove_new),
    # The last: for the administrator, the bucket is gone then.
    "delete-bucket": (Stage.empty, lambda s, _: s.user.delete_bucket(**s.at)),
}


def answer(stage, prepare, attempt, clear=nothing):
    try:
        prepared = prepare(stage)
    except ClientError as error:
        return "unprepared " + error.response["Error"]["Code"]
    try:
        attempt(stage, prepared)
        found = "allowed"
    except ClientError as error:
        found = error.response["Error"]["Code"]
    except BotoCoreError as error:
        found = type(error).__name__
    except Refused as error:
        found = str(error)
    clear(stage)
    return "denied" if found in DENIALS else found


def main():
    task = json.load(sys.stdin)
    if list(OPERATIONS) != task["operations"]:
        raise SystemExit(f"the table has other operations: {set(OPERATIONS) ^ set(task['operations'])}")
    admin = client(task, task["admin"])
    admin.create_bucket(Bucket=task["other"])
    admin.put_object(Bucket=task["other"], Key=INSIDE, Body=BODY)
    answers = {}
    for subject in task["subjects"]:
        # ACLs can be tried only where the bucket has them at all.
        admin.create_bucket(Bucket=subject["bucket"], ObjectOwnership="BucketOwnerPreferred")
        admin.put_bucket_versioning(Bucket=subject["bucket"], VersioningConfiguration={"Status": "Enabled"})
        stage = Stage(task, admin, subject)
        answers[subject["name"]] = {name: answer(stage, *steps) for name, steps in OPERATIONS.items()}
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
