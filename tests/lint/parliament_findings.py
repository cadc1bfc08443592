"""Reads policy documents, one in each line, and prints for each a JSON list of what parliament finds in it.

What it breaks on is told as an EXCEPTION.
"""

import json
import sys

from parliament import analyze_policy_string

for line in sys.stdin:
    try:
        findings = [[finding.issue, str(finding.detail)] for finding in analyze_policy_string(line).findings]
    except Exception as error:
        findings = [["EXCEPTION", repr(error)]]
    print(json.dumps(findings))
