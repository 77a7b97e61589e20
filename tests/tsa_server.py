"""A time stamping authority: `openssl ts` behind a server of HTTP, with certificates of its own."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

# The answers of a server: that of openssl, an error, none, too many bytes, that to the first request, a page.
Mode: TypeAlias = Literal["good", "down", "slow", "huge", "cached", "text"]

SETTINGS = """
[ req ]
distinguished_name = dn
[ dn ]
[ v3_ca ]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[ v3_tsa ]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = critical, timeStamping
[ tsa1 ]
serial = $ENV::TSA/serial
signer_cert = $ENV::TSA/tsa.pem
signer_key = $ENV::TSA/tsa.key
certs = $ENV::TSA/middle.pem
signer_digest = $ENV::TSA_DIGEST
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256, sha384, sha512
accuracy = secs:1, millisecs:500
ess_cert_id_alg = $ENV::TSA_DIGEST
tsa_name = yes
"""


@dataclass
class Tsa:
    """An authority. Its root issues an intermediate certificate, which issues that of the signer."""

    folder: Path
    key: str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256"
    digest: str = "sha256"
    mode: Mode = "good"
    requests: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    url: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        (self.folder / "openssl.cnf").write_text(SETTINGS)
        for name in ("root", "middle", "tsa"):
            self.openssl(f"genpkey {self.key} -out {name}.key")
        ca = "-config openssl.cnf -extensions v3_ca"
        self.openssl(f"req -x509 -new -key root.key -subj /CN=root -days 2 {ca} -out root.pem")
        for name, issuer, extensions in (("middle", "root", "v3_ca"), ("tsa", "middle", "v3_tsa")):
            self.openssl(
                f"req -new -key {name}.key -subj /CN={name}.example -config openssl.cnf -out {name}.csr"
            )
            self.openssl(
                f"x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -days 2 "
                f"-extfile openssl.cnf -extensions {extensions} -out {name}.pem"
            )

    @property
    def root(self) -> Path:
        """The certificate of the root."""
        return self.folder / "root.pem"

    def openssl(self, arguments: str) -> None:
        environment = os.environ | {"TSA": str(self.folder), "TSA_DIGEST": self.digest}
        command = ["openssl", *arguments.split(" ")]
        subprocess.run(command, cwd=self.folder, env=environment, check=True, capture_output=True)

    def stamp(self, request: bytes) -> bytes:
        """The answer to a request."""
        with self._lock:
            (self.folder / "request").write_bytes(request)
            self.openssl("ts -reply -config openssl.cnf -section tsa1 -queryfile request -out answer")
            self.requests.append(request)
            self.answers.append((self.folder / "answer").read_bytes())
            return self.answers[-1]

    def stamp_of(self, message: bytes) -> bytes:
        """The stamp of a message, with certificates and nonce."""
        (self.folder / "message").write_bytes(message)
        with self._lock:
            self.openssl("ts -query -data message -sha256 -cert -out query")
        return self.stamp((self.folder / "query").read_bytes())


class _Handler(http.server.BaseHTTPRequestHandler):
    tsa: Tsa
    stopped: threading.Event

    def do_POST(self) -> None:
        request = self.rfile.read(int(self.headers["Content-Length"]))
        assert self.headers["Content-Type"] == "application/timestamp-query"
        tsa = self.tsa
        if tsa.mode == "down":
            self.send_error(503)
            return
        if tsa.mode == "slow":
            self.stopped.wait(60)
            return
        if tsa.mode == "huge":
            body = b"\x30" * (1 << 20)
        elif tsa.mode == "text":
            body = b"<html>not a stamp</html>"
        elif tsa.mode == "cached" and tsa.answers:
            body = tsa.answers[0]
        else:
            body = tsa.stamp(request)
        self.send_response(200)
        self.send_header("Content-Type", "application/timestamp-reply")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        try:
            self.wfile.write(body)
        except ConnectionError:
            assert tsa.mode == "huge"

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def serve_tsa(tsa: Tsa) -> Iterator[Tsa]:
    """Serves an authority on a free port."""
    stopped = threading.Event()
    handler = type("Handler", (_Handler,), {"tsa": tsa, "stopped": stopped})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        tsa.url = f"http://127.0.0.1:{server.server_port}/path/tsr"
        yield tsa
        stopped.set()
        server.shutdown()
