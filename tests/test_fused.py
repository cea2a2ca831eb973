def test_name() -> None:
    print("NAME", __name__)
