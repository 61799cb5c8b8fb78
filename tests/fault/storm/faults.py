# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, and when: everything at random moments, from one seed, several things at a time.

Storm.step() is called again and again. Each fault is something that is done and, mostly, something that is undone later;
what is due stands in a heap.
"""
import heapq
import itertools
import os
import random
import shutil
import signal
import time

from cast import HUB

# Between two faults.
PAUSE_S = (0.1, 2.2)
STEPS = ("commit.seal", "commit.sealed", "commit.work", "redo.write", "redo.written", "redo.sync", "redo.synced",
         "store.begin", "store.put", "store.commit", "disk.write",
         "disk.written", "disk.sync", "disk.meta", "store.committed", "commit.publish", "commit.published", "commit.told")


def short_or_long(chance, short, long):
    return chance.uniform(*long) if chance.random() < 0.15 else chance.uniform(*short)


class Storm:
    def __init__(self, world, broker, disk, players, seed):
        self.world, self.broker, self.disk, self.players = world, broker, disk, players
        self.chance = random.Random(seed)
        self.due = []
        self.order = itertools.count()
        self.busy = set()  # who is being harmed, and how
        self.next = time.monotonic() + 3
        self.kinds = [(self.kill_broker, 5), (self.end_broker_at_a_step, 3), (self.stop_broker_orderly, 2),
                      (self.let_commits_fail, 2), (self.begin_a_new_log, 1),
                      (self.freeze_broker, 3), (self.freeze_player, 5), (self.kill_player, 4), (self.cut_network, 6)]
        if disk.can_be_full:
            self.kinds.append((self.fill_disk, 4))

    def note(self, what, who):
        self.world.history.write("fault", what=what, who=who)

    def later(self, seconds, action):
        heapq.heappush(self.due, (time.monotonic() + seconds, next(self.order), action))

    def step(self, calm=False):
        """Do what is due. `calm`: begin nothing new."""
        now = time.monotonic()
        while self.due and (self.due[0][0] <= now or calm):
            heapq.heappop(self.due)[2]()
        if not calm and now >= self.next:
            kinds, weights = zip(*self.kinds)
            self.chance.choices(kinds, weights)[0]()
            self.next = now + self.chance.uniform(*PAUSE_S)
        self.broker.look_after()

    def take(self, who):
        """False when something is being done to him already."""
        if who in self.busy:
            return False
        self.busy.add(who)
        return True

    # ---- the broker

    def restart_later(self, failpoint=None):
        def restart():
            self.busy.discard("broker")
            self.note("start", "broker")
            self.broker.begin(failpoint)
        self.later(short_or_long(self.chance, (0, 0.3), (0.5, 2)), restart)

    def kill_broker(self):
        if self.take("broker"):
            self.note("kill -9", "broker")
            self.broker.kill()
            self.restart_later()

    def end_broker_at_a_step(self):
        """Its next life ends between two steps of a commit."""
        if self.take("broker"):
            self.note("kill at a step", "broker")
            self.broker.kill()
            self.restart_later(f"{self.chance.choice(STEPS)}:{self.chance.randint(2, 400)}=kill")

    def let_commits_fail(self):
        """The next life's disk is full, or broken, now and then (also where no new page would be needed)."""
        if self.take("broker"):
            self.note("commits fail", "broker")
            self.broker.kill()
            self.restart_later(",".join(
                f"{self.chance.choice(STEPS[2:15])}:{self.chance.randint(20, 600)}={self.chance.choice(['ENOSPC', 'EIO'])}"
                for _ in range(8)))

    def stop_broker_orderly(self):
        if self.take("broker"):
            self.note("SIGTERM", "broker")
            self.broker.terminate()
            self.restart_later()

    def begin_a_new_log(self):
        """As when its disk is replaced: another epoch, and nothing of the old one."""
        if self.take("broker"):
            self.note("new log", "broker")
            self.broker.terminate()
            shutil.rmtree(self.broker.data, ignore_errors=True)
            self.restart_later()

    def freeze_broker(self):
        if self.take("broker"):
            self.note("SIGSTOP broker", "broker")
            self.broker.send_signal(signal.SIGSTOP)

            def thaw():
                self.busy.discard("broker")
                self.broker.send_signal(signal.SIGCONT)
            self.later(short_or_long(self.chance, (0.05, 1.5), (2, 7)), thaw)

    # ---- players

    def freeze_player(self):
        player = self.chance.choice(self.players)
        if self.take(player.name):
            self.note("SIGSTOP", player.name)
            player.signal(signal.SIGSTOP)

            def thaw():
                self.busy.discard(player.name)
                player.signal(signal.SIGCONT)
            self.later(short_or_long(self.chance, (0.1, 3), (4, 12)), thaw)

    def kill_player(self):
        player = self.chance.choice(self.players)
        if self.take(player.name):
            self.note("kill -9 of a client", player.name)
            player.kill()

            def begin():
                self.busy.discard(player.name)
                player.start()
            self.later(short_or_long(self.chance, (0, 0.5), (1, 5)), begin)

    # ---- between them

    def cut_network(self):
        host = self.chance.choice(sorted({p.host for p in self.players} - {HUB}))
        way = self.chance.choice(self.world.network.ways)
        if self.take(f"host {host}"):
            self.note(f"partition ({way})", f"host {host}")
            self.world.network.cut(host, way)

            def heal():
                self.busy.discard(f"host {host}")
                self.world.network.heal(host, way)
            self.later(short_or_long(self.chance, (0.2, 3), (5, 15)), heal)

    def fill_disk(self):
        if not self.take("disk"):
            return
        self.note("disk full", "broker")
        self.disk.fill()

        def free():
            self.busy.discard("disk")
            self.disk.free()
        seconds = short_or_long(self.chance, (0.3, 3), (4, 8))
        self.later(seconds, free)
        if self.chance.random() < 0.5:
            self.later(seconds * self.chance.uniform(0.3, 0.95), self.kill_broker)


class Disk:
    """A file system of its own for the broker's data, and a file that fills it up."""

    def __init__(self, path, megabytes):
        self.ballast = os.path.join(path, "ballast")
        self.can_be_full = megabytes > 0
        self.is_full = False
        self.freed = 0  # when

    def was_full_since(self, moment):
        return self.is_full or self.freed >= moment

    def fill(self):
        self.is_full = True
        fd = os.open(self.ballast, os.O_WRONLY | os.O_CREAT, 0o600)
        size = 1 << 20
        while size:
            try:
                if os.write(fd, bytes(size)) < size:
                    size //= 4
            except OSError:
                size //= 4
        os.close(fd)

    def free(self):
        if self.is_full:
            self.freed = time.monotonic()
        self.is_full = False
        if os.path.exists(self.ballast):
            os.unlink(self.ballast)
