#!/usr/bin/env bash
# A real Slurm of two nodes on this machine, for tests and for trying things out; needs root, no cgroup, no systemd.
#
#   slurm/dev_cluster.sh up        installs Debian's packages if they are missing, starts everything, prints what to type
#   slurm/dev_cluster.sh status    nodes, queue, daemons
#   slurm/dev_cluster.sh env       the line that points a shell at it:  eval "$(slurm/dev_cluster.sh env)"
#   slurm/dev_cluster.sh stop n1   kills the slurmd of a node (a dead node);  start n1  brings it back
#   slurm/dev_cluster.sh down      ends every process it started and removes its folder
#
# Everything lives in one folder (ISOBAR_SLURM, default isobar-slurm in the folder for temporary files), except the socket of
# munged, which is where clients look for it, and two marked lines in /etc/hosts.
set -euo pipefail

PATH=$PATH:/usr/sbin:/sbin
TEMPORARY=$(dirname "$(mktemp -u)")
HERE=${ISOBAR_SLURM:-$TEMPORARY/isobar-slurm}
CONF=$HERE/slurm.conf
NODES="n1 n2"
MARK="# isobar dev cluster in $HERE"
SOCKET=/run/munge/munge.socket.2
PACKAGES="slurm-wlm slurmdbd munge mariadb-server"
export SLURM_CONF=$CONF MYSQL_UNIX_PORT=$HERE/mariadb.sock

say() { printf '%s\n' "$*"; }
fail() { printf 'dev_cluster: %s\n' "$*" >&2; exit 1; }

wait_for() { # seconds, what it is, command …
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@" >"$HERE/wait.log" 2>&1; do
    if ((SECONDS >= end)); then
      cat "$HERE/wait.log" >&2
      fail "$what did not answer; its log is in $HERE"
    fi
    sleep 0.2
  done
}

alive() { [[ -s $1 ]] && kill -0 "$(<"$1")" 2>/dev/null; }

end() { # pid file: TERM, then KILL
  alive "$1" || return 0
  local pid
  pid=$(<"$1")
  kill "$pid" 2>/dev/null || return 0
  for _ in $(seq 50); do
    kill -0 "$pid" 2>/dev/null || return 0
    sleep 0.2
  done
  kill -9 "$pid" 2>/dev/null || true
}

installed() {
  for name in slurmctld slurmd slurmdbd sbatch munged mariadbd mariadb-install-db; do
    command -v "$name" >/dev/null || return 1
  done
}

install_packages() {
  if installed; then return; fi
  command -v apt-get >/dev/null || fail "install $PACKAGES first (no apt-get here)"
  say "installing $PACKAGES"
  # No daemon is to start by itself: a policy file says so while the packages are set up.
  local policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  fi
  mkdir -p "$HERE"
  # An update that fails does not matter if the lists of an earlier one will do; a network that hangs is given up.
  timeout 120 apt-get update -qq >"$HERE/apt.log" 2>&1 || say "apt-get update failed; trying with the lists that are here"
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive timeout 300 apt-get install -qq -y --no-install-recommends $PACKAGES >>"$HERE/apt.log" 2>&1 \
    || { tail -n 2 "$HERE/apt.log" >&2; fail "apt-get could not install $PACKAGES"; }
  installed || fail "$PACKAGES are installed, but a program of them is missing"
}

write_files() {
  local host
  host=$(hostname -s)
  cat >"$CONF" <<END
ClusterName=isobar
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=cred_expire=5
StateSaveLocation=$HERE/state
SlurmdSpoolDir=$HERE/spool.%n
SlurmctldPidFile=$HERE/slurmctld.pid
SlurmdPidFile=$HERE/slurmd.%n.pid
SlurmctldLogFile=$HERE/slurmctld.log
SlurmdLogFile=$HERE/slurmd.%n.log
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,batch_sched_delay=0,sched_min_interval=10000
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
MpiDefault=none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
ReturnToService=2
MaxArraySize=${ISOBAR_SLURM_ARRAY:-25}
KillWait=10
SlurmdTimeout=15
MessageTimeout=10
InactiveLimit=0
MinJobAge=3600
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort=16819
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=16821 CPUs=4 RealMemory=64000 State=UNKNOWN
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=16822 CPUs=4 RealMemory=64000 State=UNKNOWN
PartitionName=batch Nodes=n1,n2 Default=YES PriorityTier=1 MaxTime=INFINITE
PartitionName=urgent Nodes=n1,n2 PriorityTier=10 MaxTime=INFINITE PreemptMode=OFF
END
  cat >"$HERE/slurmdbd.conf" <<END
AuthType=auth/munge
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=16819
SlurmUser=root
PidFile=$HERE/slurmdbd.pid
LogFile=$HERE/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=slurm_acct
END
  # slurmdbd reads secrets from this file on real clusters and refuses one that others can read; it looks beside SLURM_CONF.
  chmod 600 "$HERE/slurmdbd.conf"
}

start_munged() {
  if munge -n >"$HERE/munge.try" 2>&1; then return; fi # somebody's munged is running already; it will do
  mkdir -p /run/munge
  chmod 755 /run/munge
  head -c 1024 /dev/urandom >"$HERE/munge.key"
  chmod 600 "$HERE/munge.key"
  munged --force --key-file="$HERE/munge.key" --socket=$SOCKET --pid-file="$HERE/munged.pid" \
    --log-file="$HERE/munged.log" --seed-file="$HERE/munged.seed" >"$HERE/munged.out" 2>&1 </dev/null
  wait_for 20 munged munge -n
}

start_mariadbd() {
  mariadb-install-db --no-defaults --datadir="$HERE/mariadb" --user=root --skip-test-db \
    --auth-root-authentication-method=socket --auth-root-socket-user=root >"$HERE/mariadb.install.log" 2>&1
  setsid mariadbd --no-defaults --datadir="$HERE/mariadb" --socket="$HERE/mariadb.sock" --skip-networking --user=root \
    --pid-file="$HERE/mariadbd.pid" --innodb-buffer-pool-size=32M --performance-schema=OFF \
    --innodb-lock-wait-timeout=900 >"$HERE/mariadbd.log" 2>&1 </dev/null &
  wait_for 60 mariadbd mariadb-admin --no-defaults --socket="$HERE/mariadb.sock" ping
}

start_node() { setsid slurmd -N "$1" >"$HERE/slurmd.$1.out" 2>&1 </dev/null; }

accounting_answers() { sacctmgr -n -P list cluster format=cluster | grep -qx isobar; }
nodes_are_idle() { [[ $(sinfo -h -N -p batch -o %t | sort -u) == idle ]]; }

up() {
  [[ $(id -u) == 0 ]] || fail "needs root (it starts munged and slurmd); on a real cluster there is nothing to start"
  if alive "$HERE/slurmctld.pid"; then
    say "is up already; ${0##*/} down ends it"
    return
  fi
  [[ -e $CONF ]] && down
  mkdir -p "$HERE/state"
  chmod 755 "$HERE"
  install_packages
  for node in $NODES; do
    grep -qF "127.0.0.1 $node $MARK" /etc/hosts || printf '127.0.0.1 %s %s\n' "$node" "$MARK" >>/etc/hosts
  done
  write_files
  start_munged
  start_mariadbd
  setsid slurmdbd >"$HERE/slurmdbd.out" 2>&1 </dev/null
  wait_for 60 slurmdbd sacctmgr -n list cluster
  accounting_answers || sacctmgr -i add cluster isobar >"$HERE/sacctmgr.log" 2>&1 || true
  setsid slurmctld >"$HERE/slurmctld.out" 2>&1 </dev/null
  wait_for 60 slurmctld scontrol ping
  for node in $NODES; do start_node "$node"; done
  wait_for 60 "one of the nodes" nodes_are_idle
  say "two nodes (n1, n2), partitions batch and urgent (preempts batch); point this shell at them:"
  say "  eval \"\$(${0} env)\""
}

end_orphans() { # steps that outlived a slurmd which was killed: slurmstepd of this cluster, told by its environment
  local pid
  for pid in $(pgrep -x slurmstepd || true); do
    if tr '\0' '\n' 2>/dev/null <"/proc/$pid/environ" | grep -qxF "SLURM_CONF=$CONF"; then
      kill -9 "$pid" 2>/dev/null || true
    fi
  done
}

down() {
  [[ -d $HERE ]] || { say "is not up"; return; }
  if alive "$HERE/slurmctld.pid"; then
    timeout 20 scancel --user="$(id -un)" >"$HERE/scancel.log" 2>&1 || true
    for _ in $(seq 75); do
      [[ -z $(timeout 10 squeue -h -t R,CG,S 2>/dev/null) ]] && break
      sleep 0.2
    done
  fi
  for node in $NODES; do end "$HERE/slurmd.$node.pid"; done
  for daemon in slurmctld slurmdbd mariadbd munged; do end "$HERE/$daemon.pid"; done
  end_orphans
  grep -vF "$MARK" /etc/hosts >"$HERE/hosts" && cat "$HERE/hosts" >/etc/hosts
  rm -rf "$HERE"
  say "is down; $HERE is removed"
}

status() {
  alive "$HERE/slurmctld.pid" || { say "is not up; start it with ${0} up"; exit 3; }
  for daemon in munged mariadbd slurmdbd slurmctld slurmd.n1 slurmd.n2; do
    if alive "$HERE/$daemon.pid"; then say "$daemon $(<"$HERE/$daemon.pid")"; else say "$daemon -"; fi
  done
  sinfo
  squeue
}

known_node() { [[ " $NODES " == *" ${1:-} "* ]] || fail "which node? one of: $NODES"; }

case ${1:-} in
  up) up ;;
  down) down ;;
  status) status ;;
  env) [[ -e $CONF ]] || fail "is not up; start it with ${0} up"; say "export SLURM_CONF=$CONF" ;;
  stop) known_node "${2:-}"; kill -9 "$(<"$HERE/slurmd.$2.pid")"; rm -f "$HERE/slurmd.$2.pid" ;;
  start) known_node "${2:-}"; alive "$HERE/slurmd.$2.pid" || start_node "$2" ;;
  *) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
