"""A real SLURM of two nodes on this machine's loopback, for as long as the tests run."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel", "sinfo")
MAY_INSTALL = "LITMOTIF_APT"
CONF = """\
ClusterName=mini
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=60000
KillWait=10
MessageTimeout=30
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=4000 State=UNKNOWN
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=2 RealMemory=4000 State=UNKNOWN
PartitionName=test Nodes=n1,n2 Default=YES MaxTime=30:00 State=UP
"""


@dataclass
class Cluster:
    """Two nodes, n1 and n2, of two cores each.

    Attributes:
        environment: of whoever talks to it; jobs inherit it.
    """

    environment: dict[str, str]

    def run(self, *command, **changes):
        """The output of a command of SLURM."""
        environment = self.environment | changes
        options = {"capture_output": True, "text": True, "timeout": 60, "check": False}
        done = subprocess.run(command, env=environment, **options)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def submit(self, script, *arguments, **changes):
        """The number of a new job."""
        return self.run("sbatch", "--parsable", f"--chdir={script.parent}", str(script), *arguments, **changes).strip()

    def about(self, job):
        """What the controller knows of a job."""
        fields = self.run("scontrol", "show", "job", "-o", job).split()
        return dict(field.split("=", 1) for field in fields if "=" in field)

    def wait(self, job, *states, seconds=150):
        """Wait until the job is in one of the states; fails with its output when it is not in time."""
        deadline = time.monotonic() + seconds
        while (about := self.about(job))["JobState"] not in states:
            output = Path(about["StdOut"])
            said = output.read_text() if output.exists() else "nothing"
            assert time.monotonic() < deadline, f"{about['JobState']} ({about['Reason']}), not {states}:\n{said}"
            time.sleep(0.5)
        return about


def _install():
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if not missing:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None or os.environ.get(MAY_INSTALL) != "1":
        pytest.skip(f"SLURM is not here ({missing[0]}); as root on Debian, {MAY_INSTALL}=1 installs it")
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "timeout": 240, "check": False}
    install = "apt-get update; DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends slurm-wlm"
    if subprocess.run(install, shell=True, **quiet).returncode:  # noqa: S602
        pytest.skip("apt-get cannot install slurm-wlm here")


def _free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def _start(made, daemons):
    for name, *options in daemons:
        made.run(name, "-f", made.environment["SLURM_CONF"], *options)
    deadline = time.monotonic() + 30
    while (states := made.run("sinfo", "-N", "-h", "-o", "%t").split()) != ["idle", "idle"]:
        assert time.monotonic() < deadline, states
        time.sleep(0.5)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    _install()
    folder = tmp_path_factory.mktemp("slurm")
    host, user = socket.gethostname().partition(".")[0], pwd.getpwuid(os.geteuid()).pw_name
    (folder / "slurm.conf").write_text(CONF.format(folder=folder, host=host, user=user, ports=_free_ports(3)))
    (folder / "bin").mkdir()
    (folder / "bin" / "litmotif").write_text(f'#!/bin/sh\nexec {sys.executable} -m lit_models "$@"\n')
    (folder / "bin" / "litmotif").chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "LITMOTIF_"))}
    environment |= {
        "SLURM_CONF": str(folder / "slurm.conf"),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}:/usr/sbin",
        "PYTHONPATH": str(ROOT),
        "LITMOTIF_CACHE": str(folder / "cache"),
        "LITMOTIF_RENDEZVOUS_MINUTES": "4",  # two cores start all that runs at once
        "MASTER_ADDR": "127.0.0.1",  # n1 and n2 are names to SLURM only
        "GLOO_SOCKET_IFNAME": "lo",
    }
    made = Cluster(environment)
    daemons = [["slurmctld", "-c"], ["slurmd", "-N", "n1"], ["slurmd", "-N", "n2"]]
    try:
        try:
            _start(made, daemons)
        except AssertionError as error:
            logs = "".join(log.read_text()[-2000:] for log in folder.glob("*.log"))
            pytest.skip(f"the two nodes do not come up here: {error}\n{logs}")
        yield made
        made.run("scancel", f"--user={user}")
        time.sleep(1)
    finally:
        for file in folder.glob("*.pid"):
            pid = int(file.read_text())
            os.kill(pid, signal.SIGTERM)
            deadline = time.monotonic() + 15
            while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
                time.sleep(0.1)
