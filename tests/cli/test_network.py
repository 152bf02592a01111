"""`gateway institution|ae|route`: registering, listing, changing and removing, for people and for machines."""

import pytest

from tests.cli.typed import HOSPITAL_A, HOSPITAL_B, RESIDENT_NUMBER, Typist


class TestInstitutions:
    def test_is_registered_and_listed(self, typed: Typist) -> None:
        assert typed.done("institution", "add", HOSPITAL_A, "서울병원").out == f"Registered 서울병원 ({HOSPITAL_A}).\n"
        assert "서울병원" in typed.done("institution", "list").out
        assert typed.done("institution", "list", "--json").json == [
            {"oid": HOSPITAL_A, "name": "서울병원", "state": "OPERATING"}
        ]

    def test_as_json(self, typed: Typist) -> None:
        added = typed.done("institution", "add", HOSPITAL_A, "A", "--json")
        assert added.json == {"oid": HOSPITAL_A, "name": "A"}
        assert typed.done("institution", "suspend", HOSPITAL_A, "--json").json["state"] == "SUSPENDED"
        assert typed.done("institution", "resume", HOSPITAL_A, "--json").json["state"] == "OPERATING"

    def test_a_new_name_leaves_it_suspended(self, typed: Typist) -> None:
        typed.done("institution", "add", HOSPITAL_A, "A")
        assert typed.done("institution", "suspend", HOSPITAL_A).out == f"{HOSPITAL_A} is SUSPENDED.\n"
        typed.done("institution", "add", HOSPITAL_A, "A, renamed")
        (listed,) = typed.done("institution", "list", "--json").json
        assert (listed["name"], listed["state"]) == ("A, renamed", "SUSPENDED")

    def test_none_yet(self, typed: Typist) -> None:
        assert "gateway institution add OID NAME" in typed.done("institution", "list").out
        assert typed.done("institution", "list", "--json").json == []

    def test_names_are_text_and_no_markup(self, typed: Typist) -> None:
        assert "[red]A :smile:[/]" in typed.done("institution", "add", HOSPITAL_A, "[red]A :smile:[/]").out

    @pytest.mark.parametrize("oid", ["1.2.x", "1.02", "3.1", "1", "", "1." + "2" * 63, "1.2.410\n", "１.２.３"])
    def test_what_is_no_oid(self, typed: Typist, oid: str) -> None:
        outcome = typed("institution", "add", oid, "A")
        assert outcome.code == 2
        assert outcome.told.startswith("institution oid: expected an OID such as 1.2.410.100110.10.12345678")

    @pytest.mark.parametrize("name", ["", "  ", "A\x1b[31m", "A\nB", "\udcff"])
    def test_what_is_no_name(self, typed: Typist, name: str) -> None:
        outcome = typed("institution", "add", HOSPITAL_A, name)
        assert outcome.code == 2
        assert outcome.told.startswith("institution name:")

    @pytest.mark.parametrize("verb", ["suspend", "resume"])
    def test_one_that_is_not_registered(self, typed: Typist, verb: str) -> None:
        outcome = typed("institution", verb, HOSPITAL_A)
        assert (outcome.code, outcome.told) == (2, f"institution {HOSPITAL_A} is not registered")


class TestApplicationEntities:
    def test_is_registered_and_listed(self, registered: Typist) -> None:
        title, *rest = registered.done("ae", "list").out.splitlines()[1].split()
        assert (title, rest) == ("PACS_A", ["192.0.2.1", "104", HOSPITAL_A, "192.0.2.1"])
        assert registered.done("ae", "list", "--json").json[1] == {
            "title": "PACS_B",
            "host": "192.0.2.2",
            "port": 104,
            "institution_oid": HOSPITAL_B,
            "addresses": ["192.0.2.2"],
        }

    def test_a_host_with_a_name_may_call_from_nowhere_until_told(self, registered: Typist) -> None:
        add = ("ae", "add", "CT", "ct.example", 104, "--institution", HOSPITAL_A)
        assert "nowhere (give --address)" in registered.done(*add).out
        told = registered.done(*add, "--address", "192.0.2.0/24", "--address", "2001:db8::7", "--json")
        assert told.json["addresses"] == ["192.0.2.0/24", "2001:db8::7"]

    def test_outer_spaces_of_a_title_are_not_significant(self, registered: Typist) -> None:
        added = registered.done("ae", "add", " CT ", "192.0.2.3", 104, "--institution", HOSPITAL_A, "--json")
        assert added.json["title"] == "CT"
        assert registered.done("ae", "remove", "CT ", "--json").json == {"removed": "CT"}

    @pytest.mark.parametrize(
        ("changed", "expected"),
        [
            ({"title": "SEVENTEEN_LETTERS"}, "AE title: expected 1 to 16 printable ASCII characters"),
            ({"title": "A\\B"}, "AE title: expected"),
            ({"title": "병원"}, "AE title: expected"),
            ({"title": ""}, "AE title: expected"),
            ({"host": "a b"}, "AE host: expected a host name or an address"),
            ({"host": "10.0.0.256"}, "AE host: expected"),
            ({"host": "x" * 10_000}, "AE host: expected"),
            ({"port": "0"}, "AE port: expected 1 to 65535"),
            ({"port": "65536"}, "AE port: expected"),
            ({"institution": "1.2.3"}, "institution 1.2.3 is not registered"),
            ({"address": "192.0.2.0/33"}, "AE address 192.0.2.0/33: expected an IP address or network (CIDR)"),
        ],
    )
    def test_what_is_not_acceptable(self, registered: Typist, changed: dict[str, str], expected: str) -> None:
        given = {"title": "CT", "host": "192.0.2.3", "port": "104", "institution": HOSPITAL_A, "address": "192.0.2.3"}
        given |= changed
        outcome = registered(
            *("ae", "add", given["title"], given["host"], given["port"]),
            *("--institution", given["institution"], "--address", given["address"]),
        )
        assert outcome.code == 2
        assert outcome.told.startswith(expected)

    @pytest.mark.parametrize("port", ["x", "1e3", "9" * 5000, "²"])
    def test_a_port_that_is_no_number(self, registered: Typist, port: str) -> None:
        outcome = registered("ae", "add", "CT", "192.0.2.3", port, "--institution", HOSPITAL_A)
        assert (outcome.code, outcome.out) == (2, "")
        assert "PORT" in outcome.err

    def test_a_title_of_somebody_else(self, registered: Typist) -> None:
        outcome = registered("ae", "add", "PACS_A", "192.0.2.9", 104, "--institution", HOSPITAL_B)
        assert (outcome.code, "belongs to another institution" in outcome.told) == (2, True)

    def test_one_that_a_route_leads_to(self, registered: Typist) -> None:
        outcome = registered("ae", "remove", "PACS_B")
        assert outcome.code == 2
        assert outcome.told == "AE title PACS_B is the destination of route a-to-b; remove the route first"

    def test_one_that_is_not_registered(self, registered: Typist) -> None:
        outcome = registered("ae", "remove", "NOBODY")
        assert (outcome.code, outcome.told) == (2, "AE title NOBODY is not registered")

    def test_none_yet(self, typed: Typist) -> None:
        assert "gateway ae add TITLE HOST PORT --institution OID" in typed.done("ae", "list").out


class TestRoutes:
    def test_is_added_listed_and_removed(self, registered: Typist) -> None:
        added = registered.done("route", "add", "all", "--to", "PACS_B", "--called", "GW")
        assert added.out == "Route all: from any to PACS_B.\n"
        assert registered.done("route", "list").out.splitlines()[2].split() == ["all", "any", "GW", "PACS_B"]
        assert registered.done("route", "list", "--json").json == [
            {
                "name": "a-to-b",
                "calling_ae_title": "PACS_A",
                "called_ae_title": None,
                "destination_ae_title": "PACS_B",
            },
            {"name": "all", "calling_ae_title": None, "called_ae_title": "GW", "destination_ae_title": "PACS_B"},
        ]
        assert registered.done("route", "remove", "all").out == "Removed route all.\n"
        assert registered.done("route", "remove", "a-to-b", "--json").json == {"removed": "a-to-b"}
        assert "gateway route add NAME --to TITLE" in registered.done("route", "list").out

    def test_to_nobody(self, registered: Typist) -> None:
        outcome = registered("route", "add", "r", "--to", "NOBODY")
        assert (outcome.code, outcome.told) == (2, "AE title NOBODY is not registered")

    @pytest.mark.parametrize("name", ["", " r", "x" * 41, "a\tb"])
    def test_what_is_no_name(self, registered: Typist, name: str) -> None:
        outcome = registered("route", "add", name, "--to", "PACS_B")
        assert outcome.code == 2
        assert outcome.told.startswith("route name: expected 1 to 40 characters")

    def test_one_that_is_not_there(self, registered: Typist) -> None:
        outcome = registered("route", "remove", "nothing")
        assert (outcome.code, outcome.told) == (2, "route nothing is not registered")


@pytest.mark.parametrize(
    "arguments",
    [
        ("institution", "add", HOSPITAL_B, f"Hospital {RESIDENT_NUMBER}"),
        ("ae", "add", RESIDENT_NUMBER, "192.0.2.3", 104, "--institution", HOSPITAL_A),
        ("route", "add", f"for {RESIDENT_NUMBER}", "--to", "PACS_B"),
    ],
)
def test_a_resident_registration_number_is_kept_nowhere(registered: Typist, arguments: tuple[str, ...]) -> None:
    outcome = registered(*arguments)
    assert outcome.code == 2
    assert "resident registration number" in outcome.told
    assert RESIDENT_NUMBER not in outcome.err
    for kind in ("institution", "ae", "route"):
        assert RESIDENT_NUMBER not in registered.done(kind, "list", "--json").out
