#!/usr/bin/env bash
# Process 1 of the cluster's namespaces: it starts munge, accounting and slurmctld, and switches the nodes on.
# Killing it ends all daemons, nodes and jobs, and the network.
#
#   controller.sh LAB NODES SUBNET        (accounting if LAB/slurmdbd.conf exists)
set -u
lab=$1 nodes=$2 subnet=$3
here=$(dirname "$(realpath "$0")")
export SLURM_CONF=$lab/slurm.conf LC_ALL=C
exec >>"$lab/log/controller.log" 2>&1 </dev/null

hostname ctl
# In a cgroup namespace the cluster's own cgroup is the root; other clusters have nodes with the same names.
if umount /sys/fs/cgroup/freezer 2>/dev/null; then
  mount -t cgroup -o freezer cgroup /sys/fs/cgroup/freezer
fi
mount --bind "$lab/hosts" /etc/hosts
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
ip addr add "$subnet.1/24" dev br0

# A node is switched on while LAB/run/nI.power exists, and booted again when the file is created again.
power_supply() {
  local name=n$1 address=$subnet.$((10 + $1)) launcher init
  while :; do
    until [[ -e $lab/run/$name.power ]]; do sleep 0.1; done
    unshare --net --pid --mount --uts --fork --kill-child --mount-proc \
      bash "$here/node.sh" "$lab" "$name" "$address" "$subnet.1" &
    launcher=$!
    # Wait until process 1 of the node has its own network namespace, and then add a network interface to it.
    until init=$(pgrep -P $launcher) && [[ $(readlink "/proc/$init/ns/net") != $(readlink /proc/self/ns/net) ]]; do
      sleep 0.02
    done
    echo "$init" >"$lab/run/$name.init"
    ip link add "port-$name" type veth peer name eth0 netns "$init"
    ip link set "port-$name" master br0 up
    wait $launcher
    rm -f "$lab/run/$name.power" "$lab/run/$name.init"
  done
}
for ((i = 1; i <= nodes; i++)); do
  touch "$lab/run/n$i.power"
  power_supply "$i" &
done

munged --socket="$lab/run/munge.socket" --key-file="$lab/munge/key" --pid-file="$lab/run/munged.pid" \
  --log-file="$lab/munge/log" --seed-file="$lab/munge/seed"

if [[ -e $lab/slurmdbd.conf ]]; then
  install -d -o mysql "$lab/db" "$lab/mysql"
  mariadb-install-db --no-defaults --user=mysql --datadir="$lab/db" --auth-root-authentication-method=normal \
    --skip-test-db --innodb-log-file-size=16M --innodb-flush-log-at-trx-commit=0 >"$lab/log/install-db.log"
  mariadbd --no-defaults --user=mysql --datadir="$lab/db" --socket="$lab/mysql/socket" --pid-file="$lab/mysql/pid" \
    --skip-networking --skip-name-resolve --performance-schema=OFF --innodb-buffer-pool-size=64M \
    --innodb-log-file-size=16M --innodb-flush-log-at-trx-commit=0 --log-error="$lab/mysql/log" &
  until mariadb-admin --no-defaults -S "$lab/mysql/socket" -u root ping >/dev/null 2>&1; do sleep 0.05; done
  mariadb --no-defaults -S "$lab/mysql/socket" -u root \
    -e "CREATE USER slurm@localhost IDENTIFIED BY 'slurm'; GRANT ALL ON slurm_acct.* TO slurm@localhost;"
  # The client library reads the path of the socket from this variable; the database listens on no port.
  MYSQL_UNIX_PORT=$lab/mysql/socket slurmdbd
  # Wait until slurmdbd listens, because retries of sacctmgr take seconds.
  until grep -qs 'slurmdbd version .* started' "$lab/log/slurmdbd.log"; do sleep 0.05; done
  until sacctmgr -n show cluster >/dev/null 2>&1; do sleep 0.1; done
fi

slurmctld
until scontrol ping 2>/dev/null | grep -q 'is UP'; do sleep 0.05; done
# The nodes wait for this file, because a slurmd that finds no slurmctld retries only after ten seconds.
touch "$lab/run/controller-is-up"

trap 'exit 0' TERM INT
while :; do
  sleep 3600 &
  wait $!
done
