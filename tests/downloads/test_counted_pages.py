"""Pages by number: a record deleted during a pass moves the others, and one that lives slips by."""

from tests.downloads.conftest import Downloads


async def test_what_two_passes_in_a_row_have_not_seen_is_marked(downloads: Downloads) -> None:
    await downloads.run()
    downloads.shop.ids.remove(7)
    first = await downloads.run()
    assert downloads.marked() == []
    assert (first.result.tables["items"].deleted, first.result.tables["items"].kept) == (0, None)

    second = await downloads.run()
    assert downloads.marked() == [7]
    assert second.result.tables["items"].deleted == 1

    downloads.shop.ids.insert(7, 7)
    await downloads.run()
    assert downloads.marked() == []


async def test_a_record_that_slips_by_when_another_is_deleted_is_not_marked(
    downloads: Downloads,
) -> None:
    def first_goes() -> None:
        downloads.shop.ids.pop(0)

    await downloads.run()
    # One slips by, and the same one again when another was put before it in between.
    for number in (100, 101):
        downloads.shop.after = {1: first_goes}
        run = await downloads.run()
        kept = run.result.tables["items"].kept or ""
        assert "one and the same total" in kept
        downloads.shop.ids.insert(0, number)
    assert downloads.marked() == []

    await downloads.run()
    await downloads.run()
    assert downloads.marked() == [0, 100]


async def test_a_record_that_slips_by_unnoticed_is_seen_by_the_next_pass(
    downloads: Downloads,
) -> None:
    def one_goes_and_one_comes() -> None:
        downloads.shop.ids.remove(0)
        downloads.shop.ids.append(99)

    await downloads.run()
    downloads.shop.after = {1: one_goes_and_one_comes}
    await downloads.run()
    assert downloads.marked() == []

    await downloads.run()
    await downloads.run()
    assert downloads.marked() == [0]


async def test_without_a_total_nothing_is_marked(downloads: Downloads) -> None:
    downloads.shop.told = False
    await downloads.run()
    downloads.shop.ids.remove(7)
    for _ in range(3):
        run = await downloads.run()
        assert "rows that were on no page: 1;" in (run.result.tables["items"].kept or "")
    assert downloads.marked() == []


async def test_one_page_counts_nothing(downloads: Downloads) -> None:
    downloads.shop.told = False
    downloads.shop.ids = [1, 2, 3]
    await downloads.run()
    downloads.shop.ids = [1, 2]
    await downloads.run()

    assert downloads.marked() == [3]
