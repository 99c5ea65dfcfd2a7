"""SLURM environment: Lightning's, except that it requeues nothing and that processes that cannot meet say so."""

import os
import socket
import sys
import threading

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from litmotif.errors import LitmotifError

MINUTES = "LITMOTIF_RENDEZVOUS_MINUTES"


class ClusterError(LitmotifError, RuntimeError):
    """The processes of a job cannot meet; the message says why and what to do."""


class MeetingSLURMEnvironment(SLURMEnvironment):
    """The environment of a process that ``srun`` has started.

    Lightning would save and requeue inside its signal handler, in the middle of a step; the callback ``Requeue`` does
    both between two steps.
    """

    def __init__(self) -> None:
        super().__init__(auto_requeue=False)

    def expect_all(self) -> None:
        """Call before the processes meet: they meet soon, or this process ends and says why.

        The limit, 2 minutes, is that of the environment variable ``LITMOTIF_RENDEZVOUS_MINUTES``.

        Raises:
            ClusterError: the name of the main node means nothing here.
        """
        here, there = socket.gethostname(), f"{self.main_address}:{self.main_port}"
        rank, others = self.global_rank(), self.world_size() - 1
        try:
            socket.getaddrinfo(self.main_address, self.main_port)
        except socket.gaierror as error:
            raise ClusterError(
                f"Process {rank} on {here}: the main node {self.main_address!r} has no address here "
                f"({error.strerror}). Before srun say: export MASTER_ADDR=... with a name or an IP address of the "
                "first node that every node can reach."
            ) from error
        minutes = float(os.environ.get(MINUTES, "2"))

        def give_up() -> None:
            if not torch.distributed.is_initialized():
                sys.stderr.write(
                    f"litmotif: process {rank} on {here} has not met the {others} other(s) at {there} within "
                    f"{minutes:g} minutes. Look above for a process that failed; see that this port is open between "
                    "the nodes (export MASTER_PORT=...) and, where a node has several networks, name the common one "
                    "(export GLOO_SOCKET_IFNAME=... NCCL_SOCKET_IFNAME=...). If nodes only start slowly: export "
                    f"{MINUTES}=10.\n"
                )
                sys.stderr.flush()
                os._exit(1)  # the main thread waits inside PyTorch and hears nothing

        watch = threading.Timer(60 * minutes, give_up)
        watch.daemon = True
        watch.start()
