# The ledger's writer. Each row has an id that is never tried twice; an id is
# in the file `ledger` if and only if its commit was acknowledged.
#
#   TABLE  in schema `ledger`
#   PAUSE  seconds between two rows
#
# Ends when the file `stop` appears.

trap '' PIPE
mkfifo statements answers never
# Read from with a time-out, this is a sleep that starts no process.
exec 5<>never
client=

# One client process is one connection. It ends at its first error.
connect() {
  disconnect
  (exec mysql --defaults-extra-file=client.cnf -N -B -n <statements >answers 2>>errors 5>&-) &
  client=$!
  exec 3>statements 4<answers
}

disconnect() {
  exec 3>&- 4<&-
  [[ -z $client ]] || { kill -KILL "$client" && wait "$client"; } 2>/dev/null || true
  client=
}

# answered ID STATEMENT: sends it, and tells whether the next line is the id.
answered() {
  local line
  printf '%s; SELECT %d;\n' "$2" "$1" >&3 2>>errors || return 1
  read -r -t 5 -u 4 line && [[ $line == "$1" ]]
}

again() {
  read -r -t 0.05 -u 5 || true
  connect
}

connect
columns='seq BIGINT AUTO_INCREMENT PRIMARY KEY, id BIGINT NOT NULL, KEY (id)'
until answered 0 "CREATE DATABASE IF NOT EXISTS ledger; CREATE TABLE IF NOT EXISTS ledger.$TABLE ($columns)"; do
  [[ ! -e stop ]] || exit 0
  again
done

id=0
while [[ ! -e stop ]]; do
  id=$((id + 1))
  if answered "$id" "INSERT INTO ledger.$TABLE (id) VALUES ($id)"; then
    echo "$EPOCHREALTIME $id" >>ledger
  else
    again
  fi
  read -r -t "$PAUSE" -u 5 || true
done
disconnect
echo "tried $id"
touch stopped
# The ledger is read from this pod.
exec sleep infinity
