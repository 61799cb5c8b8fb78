# SPDX-License-Identifier: Apache-2.0
"""What the processes of a run share: where the history is, who is how far, and what is to be done.

Made once, before anybody is forked. Processes are forked from one that has never spoken gRPC: its threads do not survive
a fork.
"""
import ctypes
import mmap
import os
import random
import signal
import struct
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "lib"))

CALM, OVER = 0, 1  # flags
N_FLAGS = 8


class Board:
    """64-bit numbers in memory that all processes share; each is written by one."""

    def __init__(self, n):
        self.memory = mmap.mmap(-1, 8 * (N_FLAGS + n))

    def get(self, place):
        return struct.unpack_from("<Q", self.memory, 8 * place)[0]

    def set(self, place, value):
        struct.pack_into("<Q", self.memory, 8 * place, value)


class World:
    def __init__(self, history, seed, network, board):
        self.history, self.seed, self.network, self.board = history, seed, network, board
        self.agents = {}  # players by name

    def calm(self):
        """Nothing new is to be made, everybody is to read on."""
        return self.board.get(CALM) != 0

    def over(self):
        return self.board.get(OVER) != 0


PR_SET_PDEATHSIG = 1


class Player:
    """A process of its own, in a network of its own, that is forked to run `play(player)`."""

    def __init__(self, world, name, host, place, play):
        self.world, self.name, self.host, self.place, self.play = world, name, host, place, play
        self.pid = None
        self.lives = 0

    def start(self):
        self.lives += 1
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            status = 70
            try:
                ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                if os.getppid() == parent:
                    random.seed(f"{self.world.seed} {self.name} {self.lives}")
                    self.world.network.enter(self.host)
                    self.play(self)
                    status = 0
            except BaseException:
                import traceback
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)

    def signal(self, number):
        os.kill(self.pid, number)

    def ended(self):
        """The exit status if it has ended by itself."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if not pid:
            return None
        self.pid = None
        return os.waitstatus_to_exitcode(status)

    def kill(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.pid = None

    # The player's own numbers on the board.
    def get(self, i):
        return self.world.board.get(N_FLAGS + self.place + i)

    def set(self, i, value):
        self.world.board.set(N_FLAGS + self.place + i, value)

    def write(self, kind, **members):
        self.world.history.write(kind, **members)
