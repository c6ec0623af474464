"""EQL by Elastic's own parser, Sigma by pySigma: `parse.py FOLDER`, the pack's platforms. Ends with status 1 when one does not parse."""

import pathlib
import sys

import eql
from eql.parser import elasticsearch_syntax
from sigma.collection import SigmaCollection

folder = pathlib.Path(sys.argv[1])
failed = passed = 0
for file in sorted((folder / "eql").iterdir()):
    try:
        with elasticsearch_syntax:
            eql.parse_query(file.read_text())
        passed += 1
    except eql.EqlError as error:
        failed += 1
        print(f"{file}: {error}")
rules = SigmaCollection.load_ruleset([folder / "sigma"])
for error in rules.errors:
    failed += 1
    print(f"{folder / 'sigma'}: {error}")
passed += len(rules)
print(f"eql and sigma: {passed} passed, {failed} failed")
sys.exit(1 if failed or len(rules) < 4 else 0)
