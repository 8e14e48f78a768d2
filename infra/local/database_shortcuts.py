"""Shorter ways for what the database server does most often.

Each answers as what it stands for does, which `test_database_shortcuts.py` holds
it against; what it does not know it leaves to that.

- `$in` compares each document with each value of the list, so a query for 250 lots
  took more than a hundred times as long as one for eight. MongoDB looks a value up.
- Keys of the storage engine are packed and unpacked by a description that is read
  letter by letter each time. Nearly all are texts that end with a null byte.
- Which indexes a collection has is unpacked and decoded three or four times for
  each command. They are still read each time, but decoded once.
- For each document that is inserted, their options are read twice more. While
  documents of one command are, nobody else changes the collection.
- What a query shows of a document is copied value by value in the way that any
  object of Python can be. Most are texts and numbers, which nothing changes.
"""

import copy
import datetime
import functools
import threading

import bson
import secantus.storage
import swig_wiredtiger
from secantus import projection, query

# The module by the name under which the storage engine's binding imports it.
import packing

# Index definitions that are kept decoded.
MOST_REMEMBERED = 100_000

_packed = packing.pack
_unpacked = packing.unpack
_matched = query._op_matches

# How many texts a key begins with, and what it ends with: nothing, bytes (u), or a
# number (q).
_KEYS = {"S" * texts + end: (texts, end) for texts in range(4) for end in ("", "u", "q") if texts or end}


def pack(form, *values):
    """`packing.pack`."""
    texts, end = _KEYS.get(form, (None, None))
    if texts is None or len(values) != texts + len(end):
        return _packed(form, *values)
    parts = []
    for value in values[:texts]:
        if type(value) is not str:
            return _packed(form, *values)
        parts += (value.partition("\0")[0].encode(), b"\0")
    if end == "u":
        if type(values[texts]) is not bytes:
            return _packed(form, *values)
        parts.append(values[texts])
    elif end == "q":
        parts.append(packing.pack_int(values[texts]))
    return b"".join(parts)


def unpack(form, packed):
    """`packing.unpack`."""
    texts, end = _KEYS.get(form, (None, None))
    if texts is None or type(packed) is not bytes:
        return _unpacked(form, packed)
    values = []
    begin = 0
    for _ in range(texts):
        stop = packed.find(b"\0", begin)
        if stop < 0:
            return _unpacked(form, packed)
        values.append(packed[begin:stop].decode())
        begin = stop + 1
    if end == "u":
        values.append(packed[begin:])
    elif end == "q":
        values.append(packing.unpack_int(packed[begin:])[0])
    return values


class _Sought(threading.local):
    """The list of the last `$in` that this thread compared with."""

    values = None
    texts = None

    def among(self, values):
        """The values as a set, if all of them are texts."""
        if values is not self.values:
            plain = isinstance(values, list) and all(type(value) is str for value in values)
            self.texts = frozenset(values) if plain else None
            self.values = values
        return self.texts


_sought = _Sought()


def matches(values, operator, argument, collation=None, *, field="", descend=True):
    """`query._op_matches`."""
    texts = _sought.among(argument) if operator == "$in" and collation is None else None
    if texts is None:
        return _matched(values, operator, argument, collation, field=field, descend=descend)
    for value in values:
        if type(value) is str:
            if value in texts:
                return True
        elif type(value) is list:
            if descend and any(type(item) is str and item in texts for item in value):
                return True
        elif isinstance(value, str):
            return _matched(values, operator, argument, collation, field=field, descend=descend)
    return False


@functools.lru_cache(maxsize=MOST_REMEMBERED)
def _definition(key, value):
    definition = bson.decode(value)
    return unpack("SSS", key)[2], definition.get("key", {}), definition.get("options", {})


def indexes(storage, database, collection):
    """`Storage._iter_indexes`."""
    cursor = storage._cursor(secantus.storage._IDX_TABLE)
    cursor.set_key(database, collection, "")
    found = cursor.search_near()
    if found == secantus.storage.wt.WT_NOTFOUND or (found < 0 and cursor.next() != 0):
        return
    prefix = pack("SS", database, collection)
    while True:
        key = bytes(cursor._get_key())
        if not key.startswith(prefix):
            return
        name, fields, options = _definition(key, bytes(cursor._get_value()))
        yield name, dict(fields), dict(options)
        if cursor.next() != 0:
            return


_options_map = secantus.storage.Storage._index_options_map
# The same without its repetition where another write was met.
_insert_chunk = secantus.storage.Storage._insert_chunk.__wrapped__

_inserting = threading.local()


def options_map(storage, database, collection):
    """`Storage._index_options_map`."""
    known = getattr(_inserting, "options", None)
    if known is None:
        return _options_map(storage, database, collection)
    key = (database, collection)
    if key not in known:
        known[key] = _options_map(storage, database, collection)
    return known[key]


@secantus.storage._retry_write_conflicts
def insert_chunk(storage, *arguments, **options):
    """`Storage._insert_chunk`, which holds the collection's lock."""
    _inserting.options = {}
    try:
        return _insert_chunk(storage, *arguments, **options)
    finally:
        _inserting.options = None


# Of these kinds nothing can be changed.
_FIXED = frozenset([
    str, bytes, int, float, bool, type(None), datetime.datetime,
    bson.Int64, bson.ObjectId, bson.Timestamp, bson.Decimal128,
])


def copied(value):
    """`copy.deepcopy`, of what BSON is decoded to."""
    kind = type(value)
    if kind in _FIXED:
        return value
    if kind is list:
        return [copied(item) for item in value]
    if kind is dict:
        return {name: copied(item) for name, item in value.items()}
    return copy.deepcopy(value)


class _Copying:
    """The module `copy` as the projection uses it."""

    deepcopy = staticmethod(copied)


def install():
    """From now on the server takes these ways."""
    packing.pack = swig_wiredtiger.pack = pack
    packing.unpack = swig_wiredtiger.unpack = unpack
    query._op_matches = matches
    secantus.storage.Storage._iter_indexes = indexes
    secantus.storage.Storage._index_options_map = options_map
    secantus.storage.Storage._insert_chunk = insert_chunk
    projection.copy = _Copying
