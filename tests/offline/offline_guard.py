"""Keep a Python process on this machine: a connection to any other host fails and is written down.

The file named by HF_PNEUMO_CONTACTS collects one line `host port` for each attempt, also from child processes, where
`sitecustomize.py` beside this module installs the guard."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

_LOCAL_NAMES = {"", "localhost", "ip6-localhost", socket.gethostname()}


def install() -> None:
    """Guard stream sockets and name look-ups of this process; datagram sockets send nothing when they connect."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: object) -> None:
        if _leaves(self, address):
            raise OSError(errno.ENETUNREACH, f"Tests stay on this machine; refused a connection to {address!r}")
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: object) -> int:
        return errno.ENETUNREACH if _leaves(self, address) else connect_ex(self, address)

    def guarded_getaddrinfo(host: object, port: object, *args: object, **kwargs: object) -> object:
        name = host.decode() if isinstance(host, bytes) else host
        if isinstance(name, str) and not _is_local(name):
            _write_down(name, port)
            raise socket.gaierror(socket.EAI_AGAIN, f"Tests stay on this machine; refused to look up {name!r}")
        return getaddrinfo(host, port, *args, **kwargs)

    socket.socket.connect = guarded_connect
    socket.socket.connect_ex = guarded_connect_ex
    socket.getaddrinfo = guarded_getaddrinfo


def _leaves(sock: socket.socket, address: object) -> bool:
    internet = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type == socket.SOCK_STREAM
    if not internet or not isinstance(address, tuple) or _is_local(str(address[0])):
        return False
    _write_down(address[0], address[1])
    return True


def _is_local(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host.lower() in _LOCAL_NAMES
    return address.is_loopback or address.is_unspecified


def _write_down(host: object, port: object) -> None:
    with open(os.environ["HF_PNEUMO_CONTACTS"], "a", encoding="utf-8") as contacts:
        contacts.write(f"{host} {port}\n")
