"""Prints AWS's own managed policies that speak of S3, KMS or STS, as moto ships them: a JSON object, name to document."""

import json

from moto.iam.aws_managed_policies import aws_managed_policies_data

SERVICES = ("s3:", "s3-outposts:", "s3-object-lambda:", "s3express:", "kms:", "sts:")


def texts(value):
    return value if isinstance(value, list) else [value]


def speaks_of_s3(document):
    statements = texts(document["Statement"])
    actions = [action for statement in statements for action in texts(statement.get("Action", statement.get("NotAction")))]
    return any(action.lower().startswith(SERVICES) for action in actions)


policies = json.loads(aws_managed_policies_data)
print(json.dumps({name: policy["Document"] for name, policy in sorted(policies.items()) if speaks_of_s3(policy["Document"])}))
