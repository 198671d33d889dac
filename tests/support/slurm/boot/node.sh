#!/usr/bin/env bash
# Process 1 of a node, which has its own network, processes, host name, /dev/shm and /var/tmp. The rest of the file
# system is shared, like the home folder of a cluster. Killing this process simulates a power failure.
#
#   node.sh LAB NAME ADDRESS GATEWAY
set -u
lab=$1 name=$2 address=$3 gateway=$4
export SLURM_CONF=$lab/slurm.conf
exec >>"$lab/log/$name.log" 2>&1 </dev/null

hostname "$name"
mount -t tmpfs -o size=2G,mode=1777 tmpfs /dev/shm
# As on a real node, files on the local disk survive a power failure.
mkdir -p "$lab/$name/tmp" "$lab/$name/spool"
chmod 1777 "$lab/$name/tmp"
mount --bind "$lab/$name/tmp" /var/tmp

ip link set lo up
until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
ip addr add "$address/24" dev eth0
ip link set eth0 up
# This route leads nowhere, but without any route Ray takes seconds to find the address that it was given.
ip route add default via "$gateway"

until [[ -e $lab/run/controller-is-up ]]; do sleep 0.05; done
slurmd -D &
echo $! >"$lab/run/$name.slurmd"
trap 'exit 0' TERM INT
# slurmd may be killed and started again while the node is running.
while :; do
  sleep 3600 &
  wait $!
done
