# shellcheck shell=bash
# What the scripts of the local cluster share. Sourced, never run.

# With pipefail a reader that leaves early (head, grep -q) can make its
# pipeline fail now and then: read to the end, or into a variable.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=versions.env
source "$here/versions.env"

cache=${MAINSTAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/mainstay}
cluster=${MAINSTAY_CLUSTER:-mainstay}
# Everything about one cluster, and the record of what is ours to remove.
state=$cache/clusters/$cluster
own_kubeconfig=$state/kubeconfig

# The cluster's own binaries come first, so that kubectl matches the server.
PATH=$cache/bin:$PATH

say() { printf '%s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# external: does KUBECONFIG name a cluster that is not ours?
external() { [[ -n ${KUBECONFIG:-} && $KUBECONFIG != "$own_kubeconfig" ]]; }

# k: kubectl on our own cluster, whatever the environment says.
k() { KUBECONFIG=$own_kubeconfig kubectl "$@"; }

# mine: options for `docker ps` that find the nodes of our cluster and nobody
# else's: the name alone proves nothing, the directory mounted in them does.
mine=(--filter "label=io.x-k8s.kind.cluster=$cluster" --filter "volume=$state/network")

node_names() { docker ps -a "${mine[@]}" --format '{{.Names}}' "$@" | sort; }

# hash_of FILE...: one hash over names and contents, in the given order.
hash_of() {
  (cd "$here" && find "$@" -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum) |
    sha256sum | cut -c1-16
}

# with_lock NAME COMMAND...: runs it while holding the lock. Others wait, also
# for children that outlive it; only dockerd is started without the lock.
with_lock() {
  local file=$cache/$1.lock
  shift
  mkdir -p "$cache"
  exec 9>"$file"
  if ! flock -n 9; then
    say "waiting for another start of the cluster to finish"
    flock 9
  fi
  "$@"
}

# phase TITLE COMMAND...: runs the command with its output in a log file and
# prints one line with the time it took. `phases` is set by the caller.
phase_number=0
phase() {
  local title=$1 started=$SECONDS log
  shift
  phase_number=$((phase_number + 1))
  mkdir -p "$cache/log"
  log=$cache/log/$(printf %02d "$phase_number")-${title//[^a-z0-9]/-}.log
  printf '[%2d/%d] %s ... ' "$phase_number" "${phases:-0}" "$title" >&2
  # Not as an `if` condition: that would switch off `set -e` inside.
  set +e
  (set -e; "$@") >"$log" 2>&1
  local result=$?
  set -e
  if ((result == 0)); then
    printf '%d s\n' $((SECONDS - started)) >&2
  else
    printf 'failed after %d s\n' $((SECONDS - started)) >&2
    tail -n 40 "$log" >&2
    die "$title failed; the whole log is $log"
  fi
}

# ensure_programs NAME...: installs the Debian packages of these names whose program is missing.
ensure_programs() {
  local name missing=()
  for name; do
    command -v "$name" >/dev/null || missing+=("$name")
  done
  ((${#missing[@]})) || return 0
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# mirror: the Debian mirror this machine uses, from its own apt sources.
mirror() {
  local codename
  # shellcheck source=/dev/null
  codename=$(. /etc/os-release && echo "$VERSION_CODENAME")
  # $(SITE) is apt's own syntax.
  # shellcheck disable=SC2016
  apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' |
    awk -v suite="$codename" '$1 == suite && !found++ { print $2 }'
}

# registry_has IMAGE: does a registry answer for it, and soon?
registry_has() { timeout 15 docker manifest inspect "$1" >/dev/null 2>&1; }
