"""`gateway document`: attach a document to a study, list and fetch, in the name of an institution of this node."""

from pathlib import Path
from typing import Annotated

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
    show,
    tell,
)
from gateway.cli.settings import load_or_exit
from gateway.documents.submission import Submission
from gateway.domain.access import Caller, Role
from gateway.domain.document import Document, DocumentType
from gateway.errors import InputError

document_app = typer.Typer(help="Documents that travel beside a study.", no_args_is_help=True)

READ_BYTES = 1 << 20
"""Copied in pieces of this size."""

StudyOption = Annotated[str, typer.Option("--study", metavar="UID", help="Study Instance UID.")]


@document_app.command("add")
def document_add(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A PDF or a CDA document.")],
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
    settings = load_or_exit(config)
    if file.stat().st_size > settings.documents.limit_bytes:
        raise InputError(f"{file.name}: larger than documents.limit_bytes ({settings.documents.limit_bytes})")
    with open_documents(settings) as documents:
        content = documents.blobs.writer()
        with file.open("rb") as source:
            while chunk := source.read(READ_BYTES):
                content.write(chunk)
        document = documents.attach(_caller(institution), submission, content)
    line = f"Attached {document.type} {document.id}, {document.size_bytes} bytes, SHA-256 {document.sha256}."
    done(json, line, **_fields(document))


@document_app.command("list")
def document_list(
    institution: InstitutionOption, study: StudyOption, config: ConfigOption = DEFAULT_FILE, json: JsonOption = False
) -> None:
    """The documents of a study that an institution may see."""
    with open_documents(load_or_exit(config)) as documents:
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
    with open_documents(load_or_exit(config)) as documents:
        release = documents.open(_caller(institution), study, document_id)
        if release is None:
            tell("There is no such document, or it may not be disclosed to this institution.")
            raise typer.Exit(ExitCode.DENIED)
        try:
            with output.open("xb") as target:
                offset = 0
                while release.still_permitted() and (chunk := release.read(READ_BYTES, offset)):
                    target.write(chunk)
                    offset += len(chunk)
        except FileExistsError:
            raise InputError(f"{output} exists; choose another name") from None
        finally:
            release.close()
    done(json, f"Wrote {offset} bytes to {output}.", file=str(output), size_bytes=offset)


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
