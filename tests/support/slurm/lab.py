"""A Slurm cluster with accounting on one machine, with real daemons and each node in its own Linux namespaces.

This needs root (CAP_SYS_ADMIN and CAP_NET_ADMIN) and the packages that `boot/install.sh` installs. All files are in one
folder and all processes descend from one process; `shut_down` kills it, which ends daemons, jobs and the network.
Nothing listens on the machine's own addresses. The machine is the login node, with the address SUBNET.254.
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path

from tests.support.runs import wait_until

SCRIPTS = Path(__file__).parent / "boot"
NAMESPACES = ("unshare", "--net", "--pid", "--mount", "--uts", "--cgroup", "--fork", "--kill-child", "--mount-proc")
BOOT_S = 60.0
"""Time in which a cluster must be ready; it takes three seconds on an idle machine."""
_FREEZER = Path("/sys/fs/cgroup/freezer")
PROGRAMS = ("slurmctld", "slurmd", "slurmdbd", "munged", "mariadbd", "sbatch", "ip", "nsenter", "unshare")


def unsupported_reason() -> str | None:
    """The reason why no cluster can be booted on this machine, or None if one can be booted."""
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"{', '.join(missing)} not installed (tests/support/slurm/boot/install.sh installs them on Debian)"
    if os.geteuid() != 0 or subprocess.run([*NAMESPACES, "true"], capture_output=True, check=False).returncode:
        return "not root, or no permission to create namespaces"
    return None


class Lab:
    """A cluster with nodes n1, n2, ..., each with 4 CPUs and 2 fake GPUs. Partition `high` preempts partition `main`.

    Args:
        nodes: number of nodes.
        accounting: run slurmdbd and a database, which `sacct` needs.
        accounts: jobs need an account, of which "spins" is the only one.
        warning: send a preempted job the signal that it requested for its walltime, instead of SIGTERM.
    """

    def __init__(self, nodes: int = 2, accounting: bool = True, accounts: bool = False, warning: bool = True) -> None:
        self.names = [f"n{number}" for number in range(1, nodes + 1)]
        self.damaged = False
        # The path must be short, for Unix sockets, and accessible to the user of the database.
        self.folder = Path(tempfile.mkdtemp(prefix="lab", dir="/tmp"))
        self.folder.chmod(0o755)
        # A number that separates this cluster from others on this machine.
        self._reservation, number = _reserved_number()
        self._subnet, self._interface, self._init = f"10.88.{number}", f"lab{number}", 0
        self._cgroup = _FREEZER / f"lab{number}"
        for name in ("run", "log", "state", "munge"):
            (self.folder / name).mkdir()
        self._write_configuration(accounting, accounts, warning)
        try:
            self._boot()
            if accounts:
                self.run("sacctmgr", "--immediate", "add", "account", "spins")
                self.run("sacctmgr", "--immediate", "add", "user", "root", "account=spins")
        except BaseException:
            self.shut_down()
            raise

    def run(self, *command: str, timeout: float = 60.0) -> str:
        """Run a Slurm command on the login node and return its output; retry if the controller does not respond."""
        for _ in range(3):
            done = subprocess.run(
                command, env=self.environment(), capture_output=True, text=True, timeout=timeout, check=False
            )
            if "Socket timed out" not in done.stderr:
                break
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def run_on(self, node: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the namespaces of a node."""
        init = (self.folder / "run" / f"{node}.init").read_text().strip()
        enter = ["nsenter", "-t", init, "-p", "-m", "-n", "-u", "--", "env", f"SLURM_CONF={self.folder}/slurm.conf"]
        return self._at_controller(*enter, *command)

    def environment(self) -> dict[str, str]:
        """The environment of the login node."""
        return os.environ | {"SLURM_CONF": f"{self.folder}/slurm.conf"}

    def running(self) -> list[str]:
        """The nodes that are switched on."""
        return [name for name in self.names if (self.folder / "run" / f"{name}.init").exists()]

    def switch_off(self, node: str) -> None:
        """Simulate a power failure of a node: kill all of its processes at once."""
        self.damaged = True
        self._at_controller("kill", "-9", (self.folder / "run" / f"{node}.init").read_text().strip())

    def switch_on(self, node: str) -> None:
        """Boot a node again."""
        (self.folder / "run" / f"{node}.power").touch()

    def kill_slurmd(self, node: str) -> None:
        """Kill the Slurm daemon of a node; its jobs continue."""
        self.damaged = True
        self.run_on(node, "kill", "-9", (self.folder / "run" / f"{node}.slurmd").read_text().strip())

    def start_slurmd(self, node: str) -> None:
        """Start the Slurm daemon of a node again."""
        pid = self.folder / "run" / f"{node}.slurmd"
        self.run_on(node, "bash", "-c", f"setsid slurmd -D >/dev/null 2>&1 </dev/null & echo $! >{pid}")

    def states(self) -> dict[str, str]:
        """The state of each node as shown by sinfo: idle, alloc, down, ..."""
        lines = self.run("sinfo", "--noheader", "--Node", "--partition=main", "--format=%N %t").splitlines()
        return dict(line.split() for line in lines)

    def processes(self, node: str) -> list[str]:
        """Command lines of the processes on a node, without those of the node itself."""
        own = ("bash ", "slurmd", "sleep 3600", "ps ", "slurmstepd")
        lines = self.run_on(node, "ps", "-eo", "stat=,args=").stdout.splitlines()
        running = [line.split(None, 1)[1] for line in lines if not line.startswith("Z")]
        return [args for args in running if not args.startswith(own)]

    def shut_down(self) -> None:
        """End all processes of the cluster, and delete its folder."""
        self._controller.kill()
        self._controller.wait()
        # Process 1 of a namespace ends after all other processes in it.
        wait_until(lambda: not _alive(self._init))
        wait_until(lambda: not Path(f"/sys/class/net/{self._interface}").exists())
        # Cgroups outlive their processes; a regular end of Slurm would have removed them.
        if self._cgroup.exists():
            for path in sorted([*self._cgroup.rglob("*/"), self._cgroup], reverse=True):
                path.rmdir()
        shutil.rmtree(self.folder)
        self._reservation.close()

    def _at_controller(self, *command: str) -> subprocess.CompletedProcess[str]:
        enter = ["nsenter", "-t", str(self._init), "-p", "-m", "-n", "-u", "--"]
        return subprocess.run([*enter, *command], capture_output=True, text=True, timeout=60, check=False)

    def _boot(self) -> None:
        """Start process 1 of the cluster, connect this machine to its network, and wait for the nodes."""
        script = [SCRIPTS / "controller.sh", self.folder, len(self.names), self._subnet]
        enter = ["bash", "-c", 'echo $$ >"$0/tasks" && exec "$@"', str(self._cgroup)] if self._cgroups() else []
        self._controller = subprocess.Popen(
            [*enter, "nice", *NAMESPACES, "bash", *map(str, script)],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            env=self.environment(),
        )
        wait_until(self._find_init)
        for command in (
            f"ip link add {self._interface} type veth peer name login netns {self._init}",
            f"ip addr add {self._subnet}.254/24 dev {self._interface}",
            f"ip link set {self._interface} up",
        ):
            subprocess.run(command.split(), check=True)
        wait_until(lambda: self._at_controller("ip", "link", "set", "login", "master", "br0", "up").returncode == 0)
        wait_until(self._ready, self._diagnostics, BOOT_S)

    def _find_init(self) -> bool:
        """Whether the launcher has a child with its own network namespace."""
        children = Path(f"/proc/{self._controller.pid}/task/{self._controller.pid}/children").read_text().split()
        for child in children:
            if Path(f"/proc/{child}/ns/net").readlink() != Path("/proc/self/ns/net").readlink():
                self._init = int(child)
                return True
        return False

    def _ready(self) -> bool:
        logs = list((self.folder / "log").glob("*.log"))
        fatal = [line for log in logs for line in log.read_text(errors="replace").splitlines() if "fatal" in line]
        assert not fatal, fatal
        up = (self.folder / "run" / "controller-is-up").exists()
        return up and set(self.states().values()) == {"idle"}

    def _diagnostics(self) -> str:
        """States of the nodes and the last lines of all logs, reported if the cluster does not boot in time."""
        logs = {path.name: path.read_text(errors="replace")[-1500:] for path in (self.folder / "log").glob("*.log")}
        return "\n".join([str(self.states()), *(f"== {name}\n{text}" for name, text in logs.items())])

    def _cgroups(self) -> bool:
        """Whether Slurm can track the processes of jobs with cgroups, below a cgroup of this cluster."""
        if os.access(_FREEZER, os.W_OK):
            self._cgroup.mkdir(exist_ok=True)
        return self._cgroup.exists()

    def _write_configuration(self, accounting: bool, accounts: bool, warning: bool) -> None:
        folder, subnet = self.folder, self._subnet
        addresses = {name: f"{subnet}.{10 + number}" for number, name in enumerate(self.names, 1)}
        key = folder / "munge" / "key"
        key.touch(mode=0o400)
        key.write_bytes(secrets.token_bytes(1024))
        (folder / "munge").chmod(0o711)
        names = {"ctl": f"{subnet}.1", **addresses, "login": f"{subnet}.254"}
        hosts = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in names.items())]
        (folder / "hosts").write_text("\n".join(hosts) + "\n")
        for number in range(2):
            # slurmd requires character devices; these are copies of /dev/null.
            os.mknod(folder / f"gpu{number}", 0o20666, os.makedev(1, 3))
        (folder / "gres.conf").write_text(f"NodeName=n[1-{len(self.names)}] Name=gpu File={folder}/gpu[0-1]\n")
        cgroups = self._cgroups()
        if cgroups:
            (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        settings = (SCRIPTS / "slurm.conf").read_text()
        values = {"LAB": str(folder), "SUBNET": subnet, "TRACKING": "cgroup" if cgroups else "linuxproc"}
        for name, value in values.items():
            settings = settings.replace(f"@{name}@", value)
        for name, address in addresses.items():
            settings += f"NodeName={name} NodeAddr={address} CPUs=4 RealMemory=8000 Gres=gpu:2 State=UNKNOWN\n"
        settings += "SlurmctldParameters=preempt_send_user_signal\n" if warning else ""
        if accounting:
            settings += (
                (SCRIPTS / "accounting.conf").read_text().replace("@LAB@", str(folder)).replace("@SUBNET@", subnet)
            )
            settings += "AccountingStorageEnforce=associations\n" if accounts else ""
            database = (SCRIPTS / "slurmdbd.conf").read_text().replace("@LAB@", str(folder)).replace("@SUBNET@", subnet)
            (folder / "slurmdbd.conf").touch(mode=0o600)
            (folder / "slurmdbd.conf").write_text(database)
        (folder / "slurm.conf").write_text(settings)


def _reserved_number() -> tuple[socket.socket, int]:
    """An open socket and a number that no other cluster on this machine uses until the socket is closed."""
    for number in range(1, 255):
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0slurm-lab-{number}")
        except OSError:
            reservation.close()
        else:
            return reservation, number
    raise RuntimeError("254 clusters are running already")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
