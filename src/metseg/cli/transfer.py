"""``metseg pull`` and ``metseg push``: a study from an archive, files to it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metseg.cli import options as shared
from metseg.cli.console import print_json, reported, say_error
from metseg.core.errors import ConfigError, InputError, PeerError, exit_code

if TYPE_CHECKING:
    from metseg.io.peers import Peer

_PEER = "dimse://AETITLE@host:port (dimses:// for TLS), or the address of a DICOMweb service."
AetOption = Annotated[str, typer.Option("--aet", metavar="AET", help="The AE title that metseg calls itself by.")]
CaOption = Annotated[Path | None, typer.Option("--tls-ca", metavar="PEM", help="Who signs the peer's certificate.")]
CertOption = Annotated[Path | None, typer.Option("--tls-cert", metavar="PEM", help="metseg's own certificate.")]
KeyOption = Annotated[Path | None, typer.Option("--tls-key", metavar="PEM", help="The key of --tls-cert.")]
UserOption = Annotated[str | None, typer.Option("--user", metavar="NAME", help="DICOMweb: with --password-file.")]
PasswordOption = Annotated[
    Path | None, typer.Option("--password-file", metavar="FILE", help="DICOMweb: the password is its first line.")
]
TokenOption = Annotated[
    Path | None, typer.Option("--token-file", metavar="FILE", help="DICOMweb: a bearer token is its first line.")
]
TimeoutOption = Annotated[float, typer.Option("--timeout", metavar="S", help="Seconds to wait for an answer.")]


def push_command(
    *,
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT...", help="DICOM files, or folders of them.")],
    to: Annotated[str, typer.Option("--to", metavar="PEER", help=_PEER)],
    aet: AetOption = "METSEG",
    tls_ca: CaOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    user: UserOption = None,
    password_file: PasswordOption = None,
    token_file: TokenOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: shared.JsonOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Send DICOM files by C-STORE or STOW-RS. One that fails is named, and the others go on; exit code 6."""
    with reported(as_json=as_json, debug=debug):
        from metseg.io.dicom_values import quiet_for_good

        quiet_for_good()
        peer = _peer(
            "push", address=to, aet=aet, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key, user=user,
            password_file=password_file, token_file=token_file, timeout_s=timeout,
        )  # fmt: skip
        from metseg.io.transfer import send_files

        made = send_files(peer, _dicom_files(inputs))
        failed = [{"file": each.path.name, "reason": each.reason} for each in made if each.state != "sent"]
        code = _told(
            len(made) - len(failed),
            [f"{one['file']}: {one['reason']}" for one in failed],
            "sent",
            quiet=quiet or as_json,
        )
        if as_json:
            print_json({"sent": len(made) - len(failed), "failed": failed, "exit_code": code})
    raise typer.Exit(code)


def pull_command(
    *,
    source: Annotated[str, typer.Option("--from", metavar="PEER", help=_PEER)],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FOLDER", help="Gets a file an object.")],
    study: Annotated[str | None, typer.Option("--study", metavar="UID", help="StudyInstanceUID.")] = None,
    accession: Annotated[
        str | None, typer.Option("--accession", metavar="NUMBER", help="Or its accession number.")
    ] = None,
    method: Annotated[
        str, typer.Option("--method", metavar="get|move", help="DIMSE: by C-GET, or by C-MOVE to --listen-port.")
    ] = "get",
    listen_host: Annotated[
        str, typer.Option("--listen-host", metavar="IP", help="C-MOVE: the address that the peer sends to.")
    ] = "127.0.0.1",
    listen_port: Annotated[int, typer.Option("--listen-port", metavar="PORT", help="C-MOVE: its port.")] = 11112,
    allow_ip: Annotated[
        list[str] | None, typer.Option("--allow-ip", metavar="IP", help="C-MOVE: who may connect; the peer's address.")
    ] = None,
    aet: AetOption = "METSEG",
    tls_ca: CaOption = None,
    tls_cert: CertOption = None,
    tls_key: KeyOption = None,
    user: UserOption = None,
    password_file: PasswordOption = None,
    token_file: TokenOption = None,
    timeout: TimeoutOption = 30.0,
    as_json: shared.JsonOption = False,
    quiet: shared.QuietOption = False,
    debug: shared.DebugOption = False,
) -> None:
    """Fetch a study by C-GET, C-MOVE or WADO-RS. An object that fails is named, and the others go on; exit code 6."""
    with reported(as_json=as_json, debug=debug):
        from metseg.io.dicom_values import quiet_for_good

        quiet_for_good()
        peer = _peer(
            "pull", address=source, aet=aet, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key, user=user,
            password_file=password_file, token_file=token_file, timeout_s=timeout,
        )  # fmt: skip
        if (study is None) == (accession is None) or method not in {"get", "move"}:
            raise ConfigError("Give --study or --accession, and --method get or move.", hint="See metseg pull --help.")
        from metseg.cli.checked import checked
        from metseg.io.dimse_server import ListenOptions
        from metseg.io.transfer import find_study, pull_study

        where = {"aet": aet, "host": listen_host, "port": listen_port, "allow_ips": allow_ip or ()}
        listen = checked(ListenOptions, where, command="pull")
        pulled = pull_study(peer, study or find_study(peer, accession or ""), out, method, listen)  # type: ignore[arg-type]
        if not pulled.kept and not pulled.failed:
            raise InputError("The peer has no such study, or nothing of it.", hint="Check its UID.")
        code = _told(pulled.kept, pulled.failed, f"fetched into {out}", quiet=quiet or as_json)
        if as_json:
            print_json({"fetched": pulled.kept, "failed": pulled.failed, "exit_code": code})
    raise typer.Exit(code)


def _peer(command: str, **values: Any) -> "Peer":
    from metseg.cli.checked import checked
    from metseg.io.peers import Peer

    return checked(Peer, values, command=command)


def _dicom_files(inputs: list[Path]) -> list[Path]:
    """Files as they are named; of folders, what is DICOM.

    Raises:
        InputError: a path that does not exist, or nothing to send.
    """
    from metseg.io.case_names import shown_name
    from metseg.io.folder_walk import is_dicom

    found: list[Path] = []
    for path in inputs:
        if not path.exists():
            raise InputError(f"{shown_name(path)} does not exist.", hint="Check the path.")
        found += sorted(each for each in path.rglob("*") if is_dicom(each)) if path.is_dir() else [path]
    if not found:
        raise InputError("There is no DICOM file to send.", hint="Give DICOM files, or folders that hold some.")
    return found


def _told(good: int, failed: list[str], done: str, *, quiet: bool) -> int:
    """Say what became of the objects; the exit code."""
    for each in failed:
        say_error(f"failed: {each}")
    if not quiet:
        typer.echo(f"{good} {done}, {len(failed)} failed.")
    return exit_code(PeerError("")) if failed else 0
