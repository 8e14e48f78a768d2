#!/usr/bin/env bash
# Everything that can be checked without a running stack.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=${PYTHON:-python3}
export SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=eu-west-1

echo "-> cargo fmt"
cargo fmt --all --check

echo "-> cargo clippy"
cargo clippy --workspace --all-targets --all-features --locked -- -D warnings

"$python" infra/local/venvs.py sam
echo "-> cfn-lint"
.local/venvs/sam/bin/cfn-lint --regions eu-west-1 -- template.yaml infra/atlas/template.yaml infra/account/template.yaml
echo "-> sam validate"
.local/venvs/sam/bin/sam validate --lint --template template.yaml

echo "-> resources of the stack"
"$python" infra/local/venvs.py emulator
.local/venvs/emulator/bin/python -W ignore infra/local/count_resources.py

echo "-> the local database's shorter ways"
"$python" infra/local/venvs.py database
.local/venvs/database/bin/python infra/local/test_database_shortcuts.py

echo "-> cargo deny"
deny=$("$python" infra/local/cargo_tools.py cargo-deny)
"$deny" --locked check bans licenses sources
# The advisory database is a git repository that not every network reaches.
if GIT_TERMINAL_PROMPT=0 timeout 20 git ls-remote --exit-code https://github.com/rustsec/advisory-db HEAD >/dev/null 2>&1; then
  "$deny" --locked check advisories
else
  echo "   NOT CHECKED: advisories, because their database cannot be reached from here"
fi
