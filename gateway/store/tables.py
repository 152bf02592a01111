"""The tables. The only place that knows column names; the modules beside it turn rows into values of `domain`."""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    MetaData,
    String,
    Table,
    Text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

OID_CHARACTERS = 64
UID_CHARACTERS = 64
AE_CHARACTERS = 16
ID_CHARACTERS = 32
PATIENT_ID_CHARACTERS = 64
CODE_CHARACTERS = 40


class UtcDateTime(TypeDecorator[datetime]):
    """An aware UTC instant. SQLite keeps no zone, so the zone is taken off and put back here."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value else None


class Base(DeclarativeBase):
    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class EpochRow(Base):
    """One row: counts every change that a decision could depend on."""

    __tablename__ = "epoch"
    id: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[int]


class InstitutionRow(Base):
    __tablename__ = "institution"
    oid: Mapped[str] = mapped_column(String(OID_CHARACTERS), primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(CODE_CHARACTERS))


class ApplicationEntityRow(Base):
    __tablename__ = "application_entity"
    title: Mapped[str] = mapped_column(String(AE_CHARACTERS), primary_key=True)
    institution_oid: Mapped[str] = mapped_column(ForeignKey("institution.oid"))
    host: Mapped[str] = mapped_column(Text)
    port: Mapped[int]
    addresses: Mapped[str] = mapped_column(Text)
    """Networks in CIDR form, separated by a space."""


class RouteRow(Base):
    __tablename__ = "route"
    name: Mapped[str] = mapped_column(String(CODE_CHARACTERS), primary_key=True)
    calling_ae_title: Mapped[str | None] = mapped_column(String(AE_CHARACTERS))
    called_ae_title: Mapped[str | None] = mapped_column(String(AE_CHARACTERS))
    destination_ae_title: Mapped[str] = mapped_column(ForeignKey("application_entity.title"))


class PersonRow(Base):
    __tablename__ = "person"
    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True)


class PersonIdentifierRow(Base):
    __tablename__ = "person_identifier"
    issuer_oid: Mapped[str] = mapped_column(ForeignKey("institution.oid"), primary_key=True)
    patient_id: Mapped[str] = mapped_column(String(PATIENT_ID_CHARACTERS), primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)


class ConsentFormRow(Base):
    """`sequence` is the order of registration, which is the order of effect."""

    __tablename__ = "consent_form"
    sequence: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), unique=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("person.id"), index=True)
    kind: Mapped[str] = mapped_column(String(CODE_CHARACTERS))
    registered_at: Mapped[datetime] = mapped_column(UtcDateTime)
    registered_by: Mapped[str] = mapped_column(Text)


class DecisionRow(Base):
    __tablename__ = "decision"
    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    study_instance_uid: Mapped[str] = mapped_column(String(UID_CHARACTERS), index=True)
    source_oid: Mapped[str] = mapped_column(String(OID_CHARACTERS))
    destination_oid: Mapped[str] = mapped_column(String(OID_CHARACTERS))
    outcome: Mapped[str] = mapped_column(String(CODE_CHARACTERS))
    reason: Mapped[str] = mapped_column(String(CODE_CHARACTERS))
    forms: Mapped[str] = mapped_column(Text)
    consent_epoch: Mapped[int]
    purpose: Mapped[str] = mapped_column(String(CODE_CHARACTERS))
    document_id: Mapped[str | None] = mapped_column(String(ID_CHARACTERS))


class StudyRow(Base):
    """A study as one institution names it: the same UID from two institutions stays two."""

    __tablename__ = "study"
    study_instance_uid: Mapped[str] = mapped_column(String(UID_CHARACTERS), primary_key=True)
    issuer_oid: Mapped[str] = mapped_column(String(OID_CHARACTERS), primary_key=True)
    patient_id: Mapped[str] = mapped_column(String(PATIENT_ID_CHARACTERS))
    accession_number: Mapped[str] = mapped_column(Text)
    first_received_at: Mapped[datetime] = mapped_column(UtcDateTime)


class InstanceRow(Base):
    """The index of one spool record."""

    __tablename__ = "instance"
    record_id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(UID_CHARACTERS), index=True)
    sop_class_uid: Mapped[str] = mapped_column(String(UID_CHARACTERS))
    transfer_syntax_uid: Mapped[str] = mapped_column(String(UID_CHARACTERS))
    study_instance_uid: Mapped[str] = mapped_column(String(UID_CHARACTERS), index=True)
    series_instance_uid: Mapped[str] = mapped_column(String(UID_CHARACTERS))
    issuer_oid: Mapped[str] = mapped_column(String(OID_CHARACTERS))
    patient_id: Mapped[str] = mapped_column(String(PATIENT_ID_CHARACTERS))
    calling_ae_title: Mapped[str] = mapped_column(String(AE_CHARACTERS))
    data_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    xxh3_128: Mapped[str | None] = mapped_column(String(32))
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(CODE_CHARACTERS), index=True)


class DeliveryRow(Base):
    """Known by what it delivers and where to, so that it can be finished without having been looked up."""

    __tablename__ = "delivery"
    __table_args__ = (Index(None, "destination_ae_title", "state", "due_at"),)
    record_id: Mapped[str] = mapped_column(ForeignKey("instance.record_id"), primary_key=True)
    destination_ae_title: Mapped[str] = mapped_column(String(AE_CHARACTERS), primary_key=True)
    decision_id: Mapped[str] = mapped_column(ForeignKey("decision.id"))
    state: Mapped[str] = mapped_column(String(CODE_CHARACTERS))
    attempts: Mapped[int]
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    status: Mapped[int | None]
    detail: Mapped[str] = mapped_column(Text)
    sent_sha256: Mapped[str | None] = mapped_column(String(64))


class DocumentRow(Base):
    __tablename__ = "document"
    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(String(UID_CHARACTERS), index=True)
    issuer_oid: Mapped[str] = mapped_column(String(OID_CHARACTERS))
    patient_id: Mapped[str] = mapped_column(String(PATIENT_ID_CHARACTERS))
    author_oid: Mapped[str] = mapped_column(ForeignKey("institution.oid"))
    type: Mapped[str] = mapped_column(String(CODE_CHARACTERS))
    title: Mapped[str] = mapped_column(Text)
    media_type: Mapped[str] = mapped_column(String(CODE_CHARACTERS))
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    state: Mapped[str] = mapped_column(String(CODE_CHARACTERS))


class TokenRow(Base):
    """`secret_sha256` is the digest of a random 256-bit secret; the secret itself is shown once and never kept."""

    __tablename__ = "token"
    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True)
    secret_sha256: Mapped[str] = mapped_column(String(64))
    institution_oid: Mapped[str] = mapped_column(ForeignKey("institution.oid"))
    role: Mapped[str] = mapped_column(String(CODE_CHARACTERS))
    label: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


def table_of(row: type[Base]) -> Table:
    """The table behind a class, for statements without the ORM."""
    return Base.metadata.tables[row.__tablename__]
