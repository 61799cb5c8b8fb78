# SPDX-License-Identifier: Apache-2.0
"""The storm: a broker under load, everything that can go wrong around it, and a judge of what everybody saw.

    python3 tests/fault/storm --seconds 1800

Four agents publish, twenty subscribers of all policies read, an auditor reads the whole log; the broker is killed, stopped,
starved of disk, its clients are frozen, killed and cut off, in an order that the seed decides. What each process sees goes to
one history (history.py); at the end checker.py judges it. Ends 0 when nothing is wrong, 1 with the violations, 77 when a part
could not be judged and nothing is wrong with the rest (checker.py says why), else it could not be run.
"""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))
import agent  # noqa: E402
import checker  # noqa: E402
import faults  # noqa: E402
import network  # noqa: E402
import subscriber  # noqa: E402
import watcher  # noqa: E402
import world as worlds  # noqa: E402
from broker import StormBroker  # noqa: E402
from cast import AGENTS, HUB, SUBSCRIBERS  # noqa: E402
from history import History, Writer  # noqa: E402
from sensebus_testlib import BUILD, admin_pb2, admin_pb2_grpc, grpc  # noqa: E402

N_HOSTS = 7
DISK_MEGABYTES = 600
COULD_NOT_RUN = 2
PROGRAM = os.path.join(BUILD, "tests", "fault", "sensebus-broker-storm")


def read_arguments():
    parser = argparse.ArgumentParser(prog="storm", description="A broker under load and faults, judged by its guarantees.")
    parser.add_argument("--seconds", type=float, default=120, help="how long faults go on (120)")
    parser.add_argument("--seed", type=int, default=None, help="of the faults, to have the same again (random)")
    parser.add_argument("--rate", type=float, default=60, help="events a second of each agent, storms apart (60)")
    parser.add_argument("--subscribers", default="", help="only these, by name, separated by commas; the auditor always")
    parser.add_argument("--mutant", type=int, default=0, help="put this fault of broker/core/mutant.h into the broker")
    parser.add_argument("--history", help="keep the history in this file")
    parser.add_argument("--proxies", action="store_true", help="cut connections in user space, not between namespaces")
    parser.add_argument("--settle", type=float, default=120, help="how long anybody may stand still at the end (120)")
    parser.add_argument("--patience", type=float, default=360, help="how long who gets on may take for it (360)")
    parser.add_argument("--program", default=PROGRAM, help="the broker (the one with failpoints)")
    return parser.parse_args()


def make_network(arguments):
    why_not = "as asked" if arguments.proxies else network.Namespaces.why_not()
    if why_not is None:
        return network.Namespaces(N_HOSTS)
    print(f"no namespaces of our own ({why_not}): connections are cut by proxies", flush=True)
    return network.Proxies(N_HOSTS)


def make_disk(data, net):
    """A file system of its own, where we may mount one."""
    if isinstance(net, network.Namespaces):
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_MEGABYTES}m,mode=0700", "storm", data],
                              stderr=subprocess.PIPE)
        if done.returncode == 0:
            return faults.Disk(data, DISK_MEGABYTES)
    print("no file system of our own here: the disk is full by failpoints alone", flush=True)
    return faults.Disk(data, 0)


class Run:
    def __init__(self, arguments, directory):
        self.arguments, self.directory = arguments, directory
        self.seed = arguments.seed if arguments.seed is not None else random.SystemRandom().getrandbits(32)
        self.history_path = arguments.history or os.path.join(directory, "history")
        if os.path.exists(self.history_path):
            os.unlink(self.history_path)
        self.net = make_network(arguments)
        board = worlds.Board(worlds.N_FLAGS + 3 * 64)
        self.world = worlds.World(Writer(self.history_path), self.seed, self.net, board)
        data = os.path.join(directory, "data")
        os.mkdir(data, 0o700)
        self.disk = make_disk(data, self.net)
        self.broker = StormBroker(self.world, self.disk, os.path.join(data, "log"), arguments.program, arguments.mutant,
                                  self.seed)
        self.make_players()

    def make_players(self):
        chance, place = random.Random(self.seed), 0
        self.agents, self.subscribers = [], []
        for i, name in enumerate(AGENTS):
            player = worlds.Player(self.world, name, 1 + i, place, agent.play)
            player.rate = self.arguments.rate
            player.set(agent.EPOCH, chance.getrandbits(62) | 1)
            self.agents.append(player)
            self.world.agents[name] = player
            place += agent.N_NUMBERS
        wanted = self.arguments.subscribers.split(",") if self.arguments.subscribers else list(SUBSCRIBERS)
        for i, name in enumerate(n for n in SUBSCRIBERS if n in wanted or n == "auditor"):
            plan = SUBSCRIBERS[name]
            host = HUB if plan.get("auditor") else 1 + (i + 3) % N_HOSTS
            player = worlds.Player(self.world, name, host, place, watcher.play if plan.get("watch") else subscriber.play)
            player.plan = plan
            self.subscribers.append(player)
            place += subscriber.N_NUMBERS

    def play(self):
        a = self.arguments
        print(f"seed {self.seed}, {len(self.agents)} agents, {len(self.subscribers) - 1} subscribers and the auditor, "
              f"{a.seconds:.0f} s, {type(self.net).__name__}" + (f", mutant {a.mutant}" if a.mutant else ""), flush=True)
        self.world.history.write("run", seed=self.seed, agents=AGENTS, subscribers=[s.name for s in self.subscribers])
        self.broker.begin_and_wait()
        epoch, _ = self.ask_newest()
        for player in self.subscribers + self.agents:
            player.log_epoch = epoch
            player.start()
        if isinstance(self.net, network.Proxies):
            self.net.start()
        victims = self.agents + [s for s in self.subscribers if not s.plan.get("auditor")]
        storm = faults.Storm(self.world, self.broker, self.disk, victims, self.seed)
        end, told = time.monotonic() + a.seconds, time.monotonic()
        while time.monotonic() < end:
            storm.step()
            self.see_players(storm)
            time.sleep(0.02)
            if time.monotonic() > told + 60:
                told = time.monotonic()
                print(f"{end - told:.0f} s to go: {sum(p.get(agent.ACKED) for p in self.agents)} events acknowledged",
                      flush=True)
        self.settle(storm)

    def see_players(self, storm):
        """One that ends by itself is a fault of this harness."""
        for player in self.agents + self.subscribers:
            if player.pid and player.ended() is not None:
                raise RuntimeError(f"{player.name} ended by itself")

    def wait(self, storm, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            storm.step(calm=True)
            self.see_players(storm)
            time.sleep(0.05)

    def wait_for(self, storm, places, goal):
        """Until each of `places` (name → function) is at `goal` (name → number) or further. A slow machine may take any time
        for that, so nobody is waited for who has stood still for `settle` seconds, and everybody else until the patience is
        at its end. Returns who did not get there: those who got on, and those who stood still."""
        seen, moved = {}, {}
        ends = max(self.patience_ends, time.monotonic() + self.arguments.settle + 1)
        while True:
            now = time.monotonic()
            for name, place in places.items():
                if seen.get(name) != place():
                    seen[name], moved[name] = place(), now
            behind = [name for name in places if seen[name] < goal(name)]
            still = [name for name in behind if now - moved[name] > self.arguments.settle]
            if behind == still or now > ends:
                return [name for name in behind if name not in still], still
            self.wait(storm, 0.05)

    def settle(self, storm):
        """Undo every fault, let everything come to rest, and say where it rests."""
        self.patience_ends = time.monotonic() + self.arguments.patience
        self.disk.free()
        storm.step(calm=True)
        self.world.board.set(worlds.CALM, 1)
        agents = {player.name: player for player in self.agents}
        self.wait_for(storm, {name: lambda p=p: p.get(agent.QUIET) for name, p in agents.items()}, lambda _: 1)
        late, _ = self.wait_for(storm, {name: lambda p=p: p.get(agent.ACKED) for name, p in agents.items()},
                                lambda name: agents[name].get(agent.MADE))
        for name, player in agents.items():
            if not player.get(agent.QUIET) or player.get(agent.ACKED) != player.get(agent.MADE):
                self.world.history.write("unacked", a=name, n=player.get(agent.ACKED), made=player.get(agent.MADE),
                                         late=name in late)
            player.kill()
        epoch, newest, late = self.wait_for_readers(storm)
        self.world.board.set(worlds.OVER, 1)
        for player in self.subscribers:
            player.kill()
        ends = self.ask_newest()[1] if epoch else newest
        self.world.history.write("rest", E=epoch, newest=newest, ends=ends, subscribers=[s.name for s in self.subscribers],
                                 late=late)
        self.broker.terminate()
        damage = self.broker.verify()
        if damage:
            self.world.history.write("damage", log=damage)

    def wait_for_readers(self, storm):
        """Until all have read to the end of the log. It may grow meanwhile: that agents are gone is told there too. Returns
        the end, and who was still getting on when the time was up."""
        while True:
            epoch, newest = self.ask_newest()
            if not epoch:
                return epoch, newest, []
            late, still = self.wait_for(
                storm, {s.name: lambda s=s: s.get(subscriber.PLACE) if s.get(subscriber.EPOCH) == epoch else -1
                        for s in self.subscribers}, lambda _: newest)
            self.wait(storm, 1.5)
            if late or still or self.ask_newest() == (epoch, newest) or time.monotonic() > self.patience_ends:
                return epoch, newest, late

    def ask_newest(self):
        """A failpoint may end the broker just now: then the next life is asked."""
        end = time.monotonic() + self.arguments.settle
        while time.monotonic() < end:
            newest = self.ask_newest_once()
            if newest:
                return newest
            self.broker.look_after()
            time.sleep(0.2)
        self.broker.tell_silence()
        return 0, 0  # no log has this epoch

    def ask_newest_once(self):
        """By a child: this process must not speak gRPC, it forks."""
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                channel = grpc.insecure_channel(self.broker.address)
                info = admin_pb2_grpc.AdminStub(channel).GetBroker(admin_pb2.GetBrokerRequest(), timeout=60)
                os.write(writer, f"{info.newest.epoch} {info.newest.sequence}".encode())
            finally:
                os._exit(0)
        os.close(writer)
        text = os.read(reader, 200)
        os.close(reader)
        os.waitpid(pid, 0)
        return tuple(int(word) for word in text.split())

    def close(self):
        for player in self.agents + self.subscribers:
            player.kill()
        self.broker.clean_up()
        self.net.close()


def main():
    arguments = read_arguments()
    if not os.path.exists(arguments.program):
        print(f"there is no {arguments.program}: build it first")
        sys.exit(COULD_NOT_RUN)
    directory = tempfile.mkdtemp(prefix="sensebus-storm.")
    run, status = None, COULD_NOT_RUN
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        run = Run(arguments, directory)
        run.play()
        begin = time.monotonic()
        verdict = checker.judge(History(run.history_path))
        print(verdict.text())
        print(f"judged in {time.monotonic() - begin:.0f} s", flush=True)
        status = verdict.status()
        if verdict.violations:
            print(f"again: python3 tests/fault/storm --seed {run.seed} --seconds {arguments.seconds:.0f}")
            if not arguments.history and not arguments.mutant:
                kept = tempfile.mktemp(prefix="sensebus-storm.", suffix=".history")
                shutil.move(run.history_path, kept)
                print(f"history: {kept}")
    except Exception:
        traceback.print_exc()
    finally:
        if run:
            run.close()
            if run.disk.can_be_full:
                subprocess.run(["umount", "-l", os.path.join(directory, "data")], stderr=subprocess.DEVNULL)
        shutil.rmtree(directory, ignore_errors=True)
    sys.stdout.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
