"""Document rows."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.domain.decision import new_id
from gateway.domain.document import Document, DocumentType, MediaType
from gateway.errors import Conflict
from gateway.store.database import Database
from gateway.store.documents import add_document, find_document, study_documents
from tests.build import HOSPITAL_A, NOON, PATIENT, register

STUDY = "1.2.3"


def letter(minutes: int = 0, study: str = STUDY) -> Document:
    return Document(
        id=new_id(),
        study_instance_uid=study,
        patient=PATIENT,
        author_oid=HOSPITAL_A,
        type=DocumentType.REFERRAL,
        title="진료의뢰서 – 흉부",
        media_type=MediaType.PDF,
        size_bytes=5_000_000_000,
        sha256="ab" * 32,
        created_at=NOON + timedelta(minutes=minutes),
    )


def add(database: Database, *documents: Document) -> None:
    with database.write() as session:
        for document in documents:
            add_document(session, document)


def test_document_is_found_as_it_was_added(database: Database) -> None:
    register(database)
    document = letter()
    add(database, document)

    with database.read() as session:
        assert find_document(session, STUDY, document.id) == document
        assert find_document(session, "1.2.4", document.id) is None
        assert find_document(session, STUDY, new_id()) is None


def test_documents_of_a_study_are_listed_oldest_first(database: Database) -> None:
    register(database)
    documents = [letter(minutes) for minutes in (2, 0, 1)]
    add(database, *documents, letter(study="1.2.4"))

    with database.read() as session:
        assert study_documents(session, STUDY) == [documents[1], documents[2], documents[0]]


def test_author_must_be_registered(database: Database) -> None:
    with pytest.raises(Conflict):
        add(database, letter())


def test_document_is_added_once(database: Database) -> None:
    register(database)
    document = letter()
    add(database, document)

    with pytest.raises(Conflict):
        add(database, replace(document, title="Another"))
