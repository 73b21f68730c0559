"""Run a provider as the process that Terraform speaks with: started by Terraform itself, or by us for many stacks at once."""

import base64
import datetime
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

from brandhouse_infra.providers.plugin import Provider, Servicer
from brandhouse_infra.providers.protocol import METHODS, SERVICE, messages

MAGIC_KEY = "TF_PLUGIN_MAGIC_COOKIE"
MAGIC_VALUE = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2"
"""What Terraform sets when it starts a plugin; public, it only tells people who start it by hand."""

MAX_MESSAGE_BYTES = 256 << 20


def serve(provider: Provider) -> None:
    """Answer until Terraform, or who started us, ends us.

    Called by Terraform, the line that it waits for goes to standard output, with a certificate made for this process. Called by us
    (`--reattach`), what Terraform must be told in TF_REATTACH_PROVIDERS goes there, without TLS over a socket that only we can open.
    """
    by_us = "--reattach" in sys.argv
    if not by_us and os.environ.get(MAGIC_KEY) != MAGIC_VALUE:
        raise SystemExit("this is a Terraform provider: Terraform starts it; `brandhouse infra` writes the configuration that names it")
    with tempfile.TemporaryDirectory(prefix="brandhouse-provider-") as folder:
        address = Path(folder) / "socket"
        server, certificate, ended = _start(provider, address, with_tls=not by_us)
        print(_reattach_line(address) if by_us else f"1|6|unix|{address}|grpc|{certificate}", flush=True)  # noqa: T201 - the handshake
        _wait_for_the_end(ended, by_us)
        server.stop(grace=1).wait()


def _start(provider: Provider, address: Path, *, with_tls: bool) -> tuple[Any, str, threading.Event]:
    import grpc

    options = [("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.max_send_message_length", MAX_MESSAGE_BYTES)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16), options=options)
    servicer, classes = Servicer(provider), messages()
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(
            servicer.method(name), request_deserializer=classes[takes].FromString, response_serializer=classes[gives].SerializeToString
        )
        for name, (takes, gives) in METHODS.items()
    }
    ended = threading.Event()
    shutdown = grpc.unary_unary_rpc_method_handler(
        _end_by(ended),
        request_deserializer=classes["Empty"].FromString,
        response_serializer=classes["Empty"].SerializeToString,
    )
    server.add_generic_rpc_handlers(
        (
            grpc.method_handlers_generic_handler(SERVICE, handlers),
            # Without it Terraform waits two seconds for each provider that it ends, and then kills it.
            grpc.method_handlers_generic_handler("plugin.GRPCController", {"Shutdown": shutdown}),
        )
    )
    certificate = ""
    if with_tls:
        key, chain, certificate = _certificate()
        # Terraform's own certificate is not asked for: it is of a curve (P-521) that gRPC in Python does not take. The socket lies
        # in a folder that only this user can enter.
        credentials = grpc.ssl_server_credentials([(key, chain)])
        server.add_secure_port(f"unix:{address}", credentials)
    else:
        server.add_insecure_port(f"unix:{address}")
    server.start()
    return server, certificate, ended


def _reattach_line(address: Path) -> str:
    place = {"Network": "unix", "String": str(address)}
    return json.dumps({"Protocol": "grpc", "ProtocolVersion": 6, "Pid": os.getpid(), "Test": True, "Addr": place})


def _wait_for_the_end(ended: threading.Event, by_us: bool) -> None:
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    # Ctrl-C reaches all processes of a terminal; Terraform ends what it is about and then tells us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if by_us:  # whoever started us holds our standard input; if it dies, however it dies, that ends, and we with it
        threading.Thread(target=_watch_input, args=(ended,), daemon=True).start()
    parent = os.getppid()
    while not ended.wait(1.0):
        if os.getppid() != parent:
            return


def _watch_input(ended: threading.Event) -> None:
    sys.stdin.read()
    ended.set()


def _end_by(ended: threading.Event) -> Callable[[Any, Any], Any]:
    """What answers Terraform's wish that we end."""

    def end(request: Any, _context: Any) -> Any:
        ended.set()
        return request

    return end


def _certificate() -> tuple[bytes, bytes, str]:
    """A key and a certificate for this process alone: as PEM, and as Terraform wants it told."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    told = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode().rstrip("=")
    return private, certificate.public_bytes(serialization.Encoding.PEM), told
