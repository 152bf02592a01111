"""`gateway document`: attach a document to a study, list and fetch, in the name of an institution of this node."""

from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from gateway.app.parts import open_documents
from gateway.cli.common import (
    DEFAULT_FILE,
    ConfigOption,
    ExitCode,
    InstitutionOption,
    JsonOption,
    done,
    dump,
    fail,
    load_settings,
    show,
    study_uid,
)
from gateway.documents.blobs import BlobWriter
from gateway.documents.release import Release
from gateway.documents.submission import Submission
from gateway.domain.access import Caller, Role
from gateway.domain.document import Document, DocumentType
from gateway.errors import GatewayError, InputError, StoreUnavailable

document_app = typer.Typer(help="Documents that travel beside a study.", no_args_is_help=True)

READ_BYTES = 1 << 20
"""Copied in pieces of this size."""

StudyOption = Annotated[str, typer.Option("--study", metavar="UID", help="Study Instance UID.", callback=study_uid)]


@document_app.command("add")
def document_add(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A PDF or a CDA document.")],
    institution: InstitutionOption,
    study: StudyOption,
    kind: Annotated[DocumentType, typer.Option("--type", case_sensitive=False, help="What it is.")],
    title: Annotated[str, typer.Option(help="A line for the list. Not given: the name of its type.")] = "",
    patient: Annotated[
        str, typer.Option(metavar="ID", help="The patient's id there; needed while the study is not known.")
    ] = "",
    config: ConfigOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Attach a document of an institution to a study."""
    submission = Submission(study, kind, title=title, patient_id=patient, file_name=file.name)
    settings = load_settings(config)
    with open_documents(settings) as documents:
        content = documents.blobs.writer()
        copy_in(file, content, settings.documents.limit_bytes)
        document = documents.attach(_caller(institution), submission, content)
    line = f"Attached {document.type} {document.id}, {document.size_bytes} bytes, SHA-256 {document.sha256}."
    done(json, line, **_fields(document))


@document_app.command("list")
def document_list(
    institution: InstitutionOption, study: StudyOption, config: ConfigOption = DEFAULT_FILE, json: JsonOption = False
) -> None:
    """The documents of a study that an institution may see."""
    with open_documents(load_settings(config)) as documents:
        found = documents.listing(_caller(institution), study)
    if json:
        dump([_fields(document) for document in found])
    else:
        rows = [(d.id, d.type.korean, d.title, d.media_type, d.size_bytes, d.author_oid) for d in found]
        columns = ("Id", "Type", "Title", "Media type", "Bytes", "Author")
        show(columns, rows, empty="None, or none that may be disclosed to this institution.")


@document_app.command("get")
def document_get(
    document_id: Annotated[str, typer.Argument(metavar="ID", help="The document's id, as listed.")],
    institution: InstitutionOption,
    study: StudyOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write; it must not exist.")],
    config: ConfigOption = DEFAULT_FILE,
    json: JsonOption = False,
) -> None:
    """Fetch a document for an institution, under the same decision as over REST."""
    with open_documents(load_settings(config)) as documents:
        release = documents.open(_caller(institution), study, document_id)
        if release is None:
            fail("There is no such document, or it may not be disclosed to this institution.", ExitCode.DENIED)
        try:
            copy_out(release, output)
        finally:
            release.close()
    size_bytes = release.document.size_bytes
    done(json, f"Wrote {size_bytes} bytes to {output}.", file=str(output), size_bytes=size_bytes)


def copy_in(file: Path, content: BlobWriter, limit_bytes: int) -> None:
    """Fill `content` from a file; abandons it when that fails.

    Raises:
        InputError: the file cannot be read, or goes on beyond the limit.
    """
    try:
        with file.open("rb") as source:
            while chunk := source.read(READ_BYTES):
                if content.size_bytes + len(chunk) > limit_bytes:
                    raise InputError(f"{file.name}: larger than documents.limit_bytes ({limit_bytes})")
                content.write(chunk)
    except OSError as error:
        content.abandon()
        raise InputError(f"{file.name}: cannot be read: {error.strerror}") from error
    except GatewayError:
        content.abandon()
        raise


def copy_out(release: Release, output: Path) -> None:
    """Write the whole document to a new file, or leave none.

    Raises:
        InputError: the file exists, or cannot be written.
        SystemExit: the permission ended meanwhile.
    """
    try:
        with output.open("xb") as target:
            try:
                _copy(release, target)
            except BaseException:
                output.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise InputError(f"{output} exists; choose another name") from None
    except OSError as error:
        raise InputError(f"{output}: cannot be written: {error.strerror}") from None


def _copy(release: Release, target: BinaryIO) -> None:
    offset = 0
    while offset < release.document.size_bytes:
        if not release.still_permitted():
            fail("The document may not be disclosed to this institution any more; nothing was kept.", ExitCode.DENIED)
        chunk = release.read(READ_BYTES, offset)
        if not chunk:
            raise StoreUnavailable("the content of the document ends too soon; restore it from a backup")
        target.write(chunk)
        offset += len(chunk)


def _caller(institution_oid: str) -> Caller:
    """Whoever may run commands on the node acts for its institutions; that is recorded as such."""
    return Caller("cli", institution_oid, Role.CLINICIAN)


def _fields(document: Document) -> dict[str, object]:
    return {
        "id": document.id,
        "type": document.type,
        "title": document.title,
        "media_type": document.media_type,
        "size_bytes": document.size_bytes,
        "sha256": document.sha256,
        "author_oid": document.author_oid,
        "created_at": document.created_at.isoformat(),
    }
