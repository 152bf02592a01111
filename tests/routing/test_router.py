"""Matching routes."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.transfer import Route
from gateway.routing.router import addressable_titles, matching_routes

titles = st.sampled_from(["ONE", "TWO", "THREE"])
routes = st.builds(
    Route,
    name=st.text("abcdefgh", min_size=1, max_size=3),
    destination_ae_title=titles,
    calling_ae_title=st.none() | titles,
    called_ae_title=st.none() | titles,
)
route_sets = st.lists(routes, max_size=8, unique_by=lambda route: route.name)


def destinations(known: list[Route], calling: str, called: str) -> set[str]:
    return {route.destination_ae_title for route in matching_routes(known, calling, called)}


def test_route_without_titles_matches_everything() -> None:
    assert destinations([Route("all", "DEST")], "ANY", "OTHER") == {"DEST"}


def test_route_matches_both_titles_it_names() -> None:
    route = Route("one", "DEST", "FROM", "TO")

    assert destinations([route], "FROM", "TO") == {"DEST"}
    assert destinations([route], "FROM", "ELSE") == set()
    assert destinations([route], "ELSE", "TO") == set()


def test_several_routes_add_up_in_order_of_their_names() -> None:
    known = [Route("b", "TWO"), Route("a", "ONE"), Route("c", "TWO")]

    assert [route.name for route in matching_routes(known, "X", "Y")] == ["a", "b"]


@given(route_sets, titles, titles)
def test_destinations_are_those_of_the_routes_that_match(known: list[Route], calling: str, called: str) -> None:
    expected = {
        route.destination_ae_title
        for route in known
        if route.calling_ae_title in {None, calling} and route.called_ae_title in {None, called}
    }

    assert destinations(known, calling, called) == expected


@given(route_sets, routes, titles, titles)
def test_a_route_changes_nothing_for_what_it_does_not_match(
    known: list[Route], added: Route, calling: str, called: str
) -> None:
    known = [route for route in known if route.name != added.name]
    before = matching_routes(known, calling, called)

    after = matching_routes([*known, added], calling, called)

    if added.calling_ae_title not in {None, calling} or added.called_ae_title not in {None, called}:
        assert after == before
    else:
        assert {r.destination_ae_title for r in after} == {r.destination_ae_title for r in before} | {
            added.destination_ae_title
        }


@given(route_sets.flatmap(lambda known: st.tuples(st.just(known), st.permutations(known))), titles, titles)
def test_order_of_registration_does_not_matter(
    known: tuple[list[Route], list[Route]], calling: str, called: str
) -> None:
    assert matching_routes(known[0], calling, called) == matching_routes(known[1], calling, called)


def test_we_answer_to_our_own_title_and_to_those_routes_name() -> None:
    known = [Route("a", "ONE", called_ae_title="TO_ONE"), Route("b", "TWO", calling_ae_title="FROM")]

    assert addressable_titles(known, "GATEWAY") == {"GATEWAY", "TO_ONE"}
