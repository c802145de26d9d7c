# shellcheck shell=bash
# The container engine: the one that runs, or Debian's, started by hand.
# Sourced by up and down, after lib.sh.
# shellcheck disable=SC2154

engine_dir=$cache/engine
engine_pid=$engine_dir/dockerd.pid

engine_answers() { timeout 20 docker info >/dev/null 2>&1; }

# engine_ours: did we start the dockerd that this pid file names?
engine_ours() {
  local pid
  pid=$(cat "$engine_pid" 2>/dev/null) && [[ $(cat "/proc/$pid/comm" 2>/dev/null) == dockerd ]]
}

# Bit 24 is CAP_SYS_RESOURCE; without it no privileged container starts.
lacks_sys_resource() {
  local bounding
  bounding=$(awk '/^CapBnd:/ { print $2 }' /proc/self/status)
  (((16#$bounding >> 24 & 1) == 0))
}

engine_require() {
  engine_answers && return
  [[ $(uname -s) == Linux && -e /etc/debian_version ]] ||
    die "no container engine answers (docker info); start one, or run this on Debian as root"
  [[ $(id -u) == 0 ]] ||
    die "no container engine answers (docker info), and only root can start one here"
}

engine_install() {
  local missing=() package
  for package in docker.io iptables jq debootstrap pigz; do
    dpkg -s "$package" >/dev/null 2>&1 || missing+=("$package")
  done
  ((${#missing[@]} == 0)) && return
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

# engine_limits: the usual 128 inotify instances a user are too few for four
# nodes whose programs all watch files ("too many open files").
engine_limits() {
  local name value
  while read -r name value; do
    if (($(<"/proc/sys/fs/inotify/$name") < value)); then
      echo "$value" >"/proc/sys/fs/inotify/$name" ||
        echo "set fs.inotify.$name to $value or more if pods fail with too many open files"
    fi
  done <<LIMITS
max_user_instances 1024
max_user_watches 524288
LIMITS
}

# engine_start survives any end of its predecessor: what a killed engine left
# in the way is what it would trip over, and nothing else is removed.
engine_start() {
  engine_limits
  engine_answers && return
  engine_install
  mkdir -p "$engine_dir"
  local options=() pid name i
  if lacks_sys_resource; then
    # dockerd remembers the path in its containers, so it must not move with a checkout.
    install -m 755 "$here/runc-without-sys-resource" "$engine_dir/runc"
    options=(--add-runtime "mainstay=$engine_dir/runc" --default-runtime mainstay)
  fi
  # One of ours that does not answer is ending, or hangs.
  for ((i = 0; i < 45; i++)); do
    engine_ours || break
    ! engine_answers || return 0
    sleep 1
  done
  ! engine_ours || kill -9 "$(cat "$engine_pid")"
  # A stale pid file whose number now belongs to another process stops
  # dockerd, and stops the containerd that dockerd starts.
  for name in "$engine_pid" /var/run/docker/containerd/containerd.pid; do
    pid=$(cat "$name" 2>/dev/null) || continue
    case $(cat "/proc/$pid/comm" 2>/dev/null) in
      dockerd | containerd) ;;
      *) rm -f "$name" ;;
    esac
  done
  setsid dockerd --pidfile "$engine_pid" "${options[@]}" >>"$engine_dir/dockerd.log" 2>&1 9>&- </dev/null &
  for ((i = 0; i < 60; i++)); do
    engine_answers && return
    sleep 1
  done
  tail -n 20 "$engine_dir/dockerd.log"
  return 1
}

# engine_stop ends only the dockerd that engine_start started.
engine_stop() {
  engine_ours || return 0
  local pid i
  pid=$(cat "$engine_pid")
  kill "$pid"
  for ((i = 0; i < 60; i++)); do
    [[ -e /proc/$pid ]] || return 0
    sleep 1
  done
  die "dockerd (pid $pid) does not stop"
}
