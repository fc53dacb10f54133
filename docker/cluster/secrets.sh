#!/bin/sh
# Writes random passwords and a random API key to .env beside this script. A file that is there stays as it is.
set -eu
umask 077
file="$(dirname "$0")/.env"
if [ -e "$file" ]; then
  echo "$file is there already: remove it first if you want other passwords (the engines keep the old ones)." >&2
  exit 1
fi
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
cat > "$file" <<END
POSTGRES_PASSWORD=$(random)
MINIO_ROOT_USER=visem
MINIO_ROOT_PASSWORD=$(random)
VISEM_API_KEY=$(random)
END
echo "Wrote $file. The API key is in it, as VISEM_API_KEY."
