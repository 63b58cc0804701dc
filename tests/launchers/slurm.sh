#!/bin/sh
# A Slurm cluster of one node with two CPUs on this machine, for the tests of the launcher submitit_slurm.
# Needs root and Debian's packages:  apt-get install -y slurmctld slurmd slurm-client munge
#   tests/launchers/slurm.sh start      writes slurm.conf and starts munged, slurmctld and slurmd, without systemd
#   tests/launchers/slurm.sh stop
set -eu
ROOT=/var/tmp/jacexp-slurm
export SLURM_CONF=/etc/slurm/slurm.conf

configure() {
    mkdir -p "$ROOT/state" "$ROOT/spool" /etc/slurm
    host=$(hostname -s)
    cat > "$SLURM_CONF" <<END
ClusterName=jacexp
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
StateSaveLocation=$ROOT/state
SlurmdSpoolDir=$ROOT/spool
SlurmctldPidFile=$ROOT/slurmctld.pid
SlurmdPidFile=$ROOT/slurmd.pid
SlurmctldLogFile=$ROOT/slurmctld.log
SlurmdLogFile=$ROOT/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
ReturnToService=2
KillWait=20
JobRequeue=1
NodeName=$host NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=test Nodes=$host Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
END
}

start() {
    configure
    if [ ! -S /run/munge/munge.socket.2 ]; then
        mkdir -p /run/munge /var/log/munge /var/lib/munge
        [ -f /etc/munge/munge.key ] || mungekey --create
        chown -R munge: /run/munge /var/log/munge /var/lib/munge /etc/munge
        chmod 755 /run/munge
        setpriv --reuid=munge --regid=munge --clear-groups munged
    fi
    slurmctld
    slurmd
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        sinfo --noheader --format=%t 2> /dev/null | grep -qE 'idle|mix|alloc' && exit 0
        sleep 1
    done
    echo "the node did not come up; see $ROOT/*.log" >&2
    exit 1
}

stop() {
    for daemon in slurmd slurmctld; do
        [ ! -f "$ROOT/$daemon.pid" ] || kill "$(cat "$ROOT/$daemon.pid")" || true
    done
    [ ! -f /run/munge/munged.pid ] || kill "$(cat /run/munge/munged.pid)" || true
}

case "${1:-}" in
    start) start ;;
    stop) stop ;;
    *) echo "usage: $0 start|stop" >&2; exit 2 ;;
esac
