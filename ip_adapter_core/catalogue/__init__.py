"""Which file to use.

In: the files on disk, a model and a wish. Out: the adapter and encoder that fit (choose), or what to download
(downloads); whether an encoder that somebody connected is surely another (own_encoder). Tests: tests/core/catalogue;
downloads in test_choose.py.
"""
