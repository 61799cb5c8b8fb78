# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests of whole programs: good ones from `sensebus pki`, bad ones from `openssl`."""
import os
import shutil
import subprocess
import tempfile

SOURCE = os.environ.get("SENSEBUS_SOURCE", os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..")))
SENSEBUS = os.path.join(os.environ.get("SENSEBUS_BUILD", os.path.join(SOURCE, "build")), "clients", "sensebus")
LIMIT_S = 180
AUTHORITY = """[ca]
default_ca = own
[own]
new_certs_dir = .
database = index.txt
rand_serial = yes
default_md = sha256
unique_subject = no
policy = any
[any]
commonName = supplied
[names]
subjectAltName = {names}
"""


def run(*arguments, cwd=None):
    done = subprocess.run([str(a) for a in arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=cwd,
                          timeout=LIMIT_S, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, arguments))} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


class Certificate:
    """Files of a certificate and its key, and of the authority that its owner trusts."""

    def __init__(self, certificate, key, authority):
        self.certificate, self.key, self.authority = certificate, key, authority

    def read(self):
        """What grpc.ssl_channel_credentials takes."""
        parts = []
        for path in (self.authority, self.key, self.certificate):
            with open(path, "rb") as file:
                parts.append(file.read())
        return parts

    def options(self):
        """For our programs that connect."""
        return ["--ca", self.authority, "--certificate", self.certificate, "--key", self.key]

    def listen_options(self):
        return ["--tls-authority", self.authority, "--tls-certificate", self.certificate, "--tls-key", self.key]


class Pki:
    """An authority in a directory of its own, removed at the end of the `with`."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="sensebus-pki.")
        self.ca = os.path.join(self.directory, "ca")
        self.authority = os.path.join(self.ca, "ca.pem")
        run(SENSEBUS, "pki", "init", self.ca)

    def path(self, name):
        return os.path.join(self.directory, name)

    def issue(self, role, name, *options):
        out = self.path(f"{role}-{name}.pem")
        run(SENSEBUS, "pki", "issue", role, name, "--ca", self.ca, "--out", out, *options)
        return Certificate(out, out[:-4] + ".key", self.authority)

    def broker(self, *options):
        return self.issue("broker", "b1", *(options or ("--dns", "localhost", "--ip", "127.0.0.1")))

    def _request(self, name):
        run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", self.path(f"{name}.key"), "-out", self.path(f"{name}.csr"))

    def dated(self, name, begin, end, names="URI:sensebus://reader/dated"):
        """Signed by the authority, valid between two times like 20200101000000Z."""
        self._request(name)
        with open(self.path("ca.cnf"), "w") as file:
            file.write(AUTHORITY.format(names=names))
        open(self.path("index.txt"), "w").close()
        run("openssl", "ca", "-batch", "-notext", "-config", "ca.cnf", "-extensions", "names", "-cert", self.authority,
            "-keyfile", os.path.join(self.ca, "ca.key"), "-in", f"{name}.csr", "-out", f"{name}.pem", "-startdate", begin,
            "-enddate", end, cwd=self.directory)
        return Certificate(self.path(f"{name}.pem"), self.path(f"{name}.key"), self.authority)

    def self_signed(self, name, names="URI:sensebus://reader/self"):
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
            f"/CN={name}", "-addext", f"subjectAltName={names}", "-keyout", self.path(f"{name}.key"), "-out",
            self.path(f"{name}.pem"))
        return Certificate(self.path(f"{name}.pem"), self.path(f"{name}.key"), self.authority)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.directory, ignore_errors=True)
